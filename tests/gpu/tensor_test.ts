/** Tensors on a GPU: what they hold, when they are read, and where their memory goes. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import { openGpu } from "@descent/sgd/gpu";
import type { GpuTensor } from "@descent/sgd/gpu";
import { absence, DOUBLE, gpuTest, TINY, values } from "./gpu.ts";

for (const [name, tuning] of [["", {}], [", in many blocks", TINY]] as const) {
  gpuTest(`a tensor of every size from 0 to 300 holds what was written${name}`, async (gpu) => {
    const sizes = Array.from({ length: 301 }, (_, n) => n);
    const tensors = sizes.map((n) => gpu.tensor(values(n, n)));
    tensors[200].write(values(200, 7));
    for (const n of sizes) {
      const expected = n === 200 ? values(200, 7) : values(n, n);
      assertEquals(tensors[n].readSync(), expected);
      assertEquals(await tensors[n].read(), expected);
      assertEquals([tensors[n].length, tensors[n].byteLength], [n, 4 * n]);
    }
  }, tuning);

  gpuTest(`a tensor of a length is zeros, also where another one was${name}`, (gpu) => {
    for (let i = 0; i < 3; i++) {
      using tensor = gpu.tensor(500);
      assertEquals(tensor.readSync(), new Float32Array(500));
      tensor.write(values(500));
    }
  }, tuning);
}

gpuTest("reads into an array of the caller's", (gpu) => {
  const out = new Float32Array(3);
  assertEquals(gpu.tensor(values(3)).readSync(out), values(3));
  assertEquals(out, values(3));
});

gpuTest("a read sees what was queued before it, and nothing after it", async (gpu) => {
  const [a, b] = [gpu.tensor(values(1000)), gpu.tensor(1000)];
  const kernel = gpu.kernel({ code: DOUBLE, entryPoint: "main" });
  const before = b.read();
  kernel.dispatch([a, b], [16]);
  const between = b.read();
  kernel.dispatch([b, a], [16]);
  a.write(values(1000, 9));
  const after = await a.read();
  assertEquals(await before, new Float32Array(1000));
  assertEquals(await between, values(1000).map((x) => 2 * x));
  assertEquals(after, values(1000, 9));
});

gpuTest("the event loop turns while a read waits", async (gpu) => {
  const tensor = gpu.tensor(1 << 20);
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const kernel = gpu.kernel({ code: DOUBLE, entryPoint: "main" });
  for (let i = 0; i < 50; i++) kernel.dispatch([tensor, tensor], [16384]);
  const sync = gpu.synchronize();
  assertEquals(turns, 0);
  await sync;
  await tensor.read();
  clearInterval(timer);
  assertEquals(turns > 0, true);
});

gpuTest("memory of disposed tensors is used again", (gpu) => {
  const keep = gpu.tensor(values(100));
  for (let i = 0; i < 200; i++) {
    using _tensor = gpu.tensor(1 << 20); // 4 MiB
  }
  assertEquals(gpu.memory.allocated, 16 << 20, "bytes of one block");
  assertEquals(keep.readSync(), values(100));
});

gpuTest("counts the bytes that cross the bus", (gpu) => {
  const tensor = gpu.tensor(values(1000));
  gpu.tensor(5000);
  tensor.readSync();
  const { toDevice, toHost } = gpu.memory;
  assertEquals([toDevice, toHost], [4000, 4000]);
});

gpuTest("float16 tensors hold float16, where the adapter has it", (gpu) => {
  if (!gpu.info.float16) {
    assertThrows(() => gpu.tensor(4, { dtype: "float16" }), TypeError, "must be float32");
    return;
  }
  for (const n of [0, 1, 2, 3, 7, 8, 129]) {
    const half = Float16Array.from(values(n, n));
    const tensor: GpuTensor<"float16"> = gpu.tensor(half);
    const after = gpu.tensor(Float16Array.from(values(5)));
    tensor.write(half);
    assertEquals(tensor.readSync(), half);
    assertEquals(after.readSync(), Float16Array.from(values(5)));
    assertEquals([tensor.dtype, tensor.byteLength], ["float16", 2 * n]);
  }
});

gpuTest("refuses what no tensor can be", (gpu) => {
  const anything = gpu.tensor as (content: unknown, options?: unknown) => unknown;
  const make = (content: unknown, options?: unknown) => () => anything.call(gpu, content, options);
  assertThrows(make(new Float64Array(3)), TypeError, "float64 is not narrowed");
  assertThrows(make(3, { dtype: "float64" }), TypeError, "current value is float64");
  assertThrows(make(new Int32Array(3)), TypeError, "current value is of type Int32Array");
  assertThrows(make(-1), RangeError, "current value is -1");
  assertThrows(make(1.5), RangeError, "current value is 1.5");
  assertThrows(make(2 ** 45), RangeError, "from 0 to 274877906944");
  const tensor = gpu.tensor(4);
  assertThrows(() => tensor.write(new Float32Array(3)), RangeError, "current length is 3");
  assertThrows(() => tensor.readSync(new Float32Array(5)), RangeError, "current length is 5");
  const wrong = new Float64Array(4) as unknown as Float32Array<ArrayBuffer>;
  assertThrows(() => tensor.write(wrong), TypeError, "current value is of type Float64Array");
  assertThrows(() => tensor.readSync(wrong), TypeError, "float64 is not narrowed");
  assertEquals(tensor.readSync(), new Float32Array(4));
});

gpuTest("nothing can be used after its disposal, which may be repeated", async (gpu) => {
  const tensor = gpu.tensor(4);
  const kernel = gpu.kernel({ code: DOUBLE, entryPoint: "main" });
  const other = gpu.tensor(4);
  for (let i = 0; i < 2; i++) tensor[Symbol.dispose]();
  assertThrows(() => tensor.length, TypeError, "the tensor as it has been disposed");
  assertThrows(() => tensor.write(values(4)), TypeError, "disposed");
  assertThrows(() => tensor.readSync(), TypeError, "disposed");
  assertThrows(() => kernel.dispatch([tensor, other], [1]), TypeError, "disposed");
  await assertRejects(() => tensor.read(), TypeError, "disposed");
  for (let i = 0; i < 2; i++) gpu[Symbol.dispose]();
  assertThrows(() => other.readSync(), TypeError, "its GPU has been disposed");
  assertThrows(() => kernel.dispatch([other, other], [1]), TypeError, "its GPU has been disposed");
  assertThrows(() => gpu.tensor(1), TypeError, "the GPU as it has been disposed");
  assertThrows(() => gpu.memory, TypeError, "disposed");
  assertThrows(() => gpu.kernel({ code: DOUBLE, entryPoint: "main" }), TypeError, "disposed");
  await assertRejects(() => gpu.synchronize(), TypeError, "disposed");
  other[Symbol.dispose]();
  kernel[Symbol.dispose]();
});

Deno.test({
  name: `gpu: a read that is on its way survives the disposal of the GPU${
    absence === undefined ? "" : ` (skipped: ${absence})`
  }`,
  ignore: absence !== undefined,
  async fn() {
    let read: Promise<Float32Array>;
    {
      using gpu = openGpu();
      read = gpu.tensor(values(1 << 20)).read();
    }
    assertEquals((await read).slice(0, 9), values(9));
  },
});

gpuTest("arrays and tensors are taken as they are, not as they say", (gpu) => {
  const tagged = (array: Float64Array, tag: string) =>
    Object.defineProperty(array, Symbol.toStringTag, { value: tag }) as unknown as Float32Array;
  assertThrows(
    () => gpu.tensor(tagged(new Float64Array(2), "Float32Array")),
    TypeError,
    "narrowed",
  );
  const tensor = gpu.tensor(values(3));
  const long = Object.defineProperty(values(3, 5), "byteLength", { value: 1 << 20 });
  tensor.write(long);
  assertEquals(tensor.readSync(), values(3, 5));
  const short = Object.defineProperty(values(2), "length", { value: 3 });
  assertThrows(() => tensor.write(short), RangeError, "current length is 2");
  assertThrows(() => tensor.readSync(short), RangeError, "current length is 2");
  assertThrows(() => Object.defineProperty(tensor, "length", { value: 1 << 20 }), TypeError);
});

gpuTest("a tensor is printed with its dtype and length, and so is the optimizer", (gpu) => {
  const tensor = gpu.tensor(values(3));
  assertEquals(Deno.inspect(tensor), 'GpuTensor { dtype: "float32", length: 3 }');
  const optimizer = new SGD([{ data: tensor, grad: null }], { lr: 0.5 });
  const { backend, elements } = optimizer.toJSON();
  assertEquals([backend, elements], ["gpu", 3]);
  const said = "The backend is gpu, as all parameters are on a GPU that openGpu has opened";
  assertEquals(optimizer.backendReason, said);
  const host = { data: values(2), grad: null };
  const mixed = new SGD([{ data: tensor, grad: null }, host], { lr: 0.5, backend: "js" });
  assertEquals(
    mixed.backendReason,
    'The backend is js, as the option backend is "js". Parameters on a GPU are stepped there',
  );
  tensor[Symbol.dispose]();
  assertEquals(Deno.inspect(tensor), 'GpuTensor { dtype: "float32", length: 3, disposed: true }');
  assertEquals(JSON.parse(JSON.stringify(optimizer)).elements, 3);
});
