/** Tensors: ranges of buffers, reads and writes, float16, and what is refused at once. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { adoptDevice } from "@descent/sgd/webgpu";
import { adoptTuned } from "../../../src/webgpu/adopt.ts";
import { stepTwin } from "./reference.ts";
import type { Reference as Twin } from "../../gpu/reference.ts";
import { assertBits } from "../../gpu/reference.ts";
import { bufferOf, makeBuffer, openGpu, optimizerOf, values } from "./world.ts";
import type { Case, Gpu } from "./world.ts";

/** What a console prints of a tensor, also where there is no such console. */
function printed(tensor: object): string {
  const hooks = tensor as Record<symbol, (inspect: typeof JSON.stringify) => string>;
  return hooks[Symbol.for("Deno.customInspect")](JSON.stringify);
}

/** A refusal: what is tried, and the error. */
type Refusal = readonly [
  attempt: (gpu: ReturnType<typeof adoptDevice<GPUBuffer>>, device: GPUDevice) => unknown,
  type: typeof TypeError | typeof RangeError,
  message: string,
];

const REFUSALS: readonly Refusal[] = [
  [
    (gpu) => gpu.tensor(1.5),
    RangeError,
    "Cannot set length as it must be a whole number >= 0: current value is 1.5",
  ],
  [
    (gpu) => gpu.tensor(new Float64Array(2) as unknown as Float32Array),
    TypeError,
    "Cannot make a tensor as it must be a Float32Array or a Float16Array, and float64 is not " +
    "narrowed: current value is of type Float64Array",
  ],
  [
    (gpu) => gpu.tensor({} as GPUBuffer),
    TypeError,
    "Cannot make a tensor as it must be a GPUBuffer, an array or a length: current value is an object",
  ],
  [
    (gpu, device) => gpu.tensor(makeBuffer(device, 64, 4 | 8)),
    TypeError,
    "Cannot make a tensor as its buffer must have the usage GPUBufferUsage.STORAGE: current usage is 12",
  ],
  [
    (gpu, device) => gpu.tensor(makeBuffer(device, 64), { offset: 10, length: 7 }),
    RangeError,
    "Cannot make a tensor as offset and length must be within the 16 elements of the buffer: current " +
    "values are 10 and 7",
  ],
  [
    (gpu, device) => gpu.tensor(makeBuffer(device, 64), { offset: 17 }),
    RangeError,
    "Cannot make a tensor as offset and length must be within the 16 elements of the buffer: current " +
    "values are 17 and 0",
  ],
  [
    (gpu, device) => gpu.tensor(makeBuffer(device, 64), { offset: -1 }),
    RangeError,
    "Cannot set offset as it must be a whole number >= 0: current value is -1",
  ],
  [
    (gpu, device) => gpu.tensor(makeBuffer(device, 62)),
    RangeError,
    "Cannot make a tensor as the size of its buffer must be a multiple of 4 bytes: current size is 62",
  ],
  [
    (gpu, device) => gpu.tensor(makeBuffer(device, 64), { dtype: "float64" as "float32" }),
    TypeError,
    "Cannot make a tensor as its dtype must be",
  ],
  [
    (gpu) => gpu.tensor(3, { offset: 1 } as { dtype?: "float32" }),
    TypeError,
    'Cannot read option "offset" as it does not exist: the options are dtype',
  ],
  [
    (gpu) => gpu.tensor(3).write(new Float32Array(4)),
    RangeError,
    "Cannot write the array as its length must be 3, like the tensor's: current length is 4",
  ],
  [
    (gpu, device) => gpu.tensor(makeBuffer(device, 64, 128)).write(new Float32Array(16)),
    TypeError,
    "Cannot write the tensor as its buffer must have the usage GPUBufferUsage.COPY_DST",
  ],
  [
    (gpu) => {
      const tensor = gpu.tensor(3);
      tensor[Symbol.dispose]();
      return tensor.length;
    },
    TypeError,
    "Cannot use the tensor as it has been disposed",
  ],
  [
    () => adoptDevice({} as GPUDevice),
    TypeError,
    "Cannot adopt the device as it must be a GPUDevice: current value is an object",
  ],
];

export const TENSOR_CASES: readonly Case[] = [
  {
    name: "what does not fit is refused at once, with the limit and the value",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      for (const [attempt, type, message] of REFUSALS) {
        const error = assertThrows(() => attempt(gpu, device), type);
        assertEquals(error.message.slice(0, message.length), message);
      }
      const unreadable = gpu.tensor(makeBuffer(device, 64, 128));
      const error = await assertRejects(() => unreadable.read(), TypeError);
      assertEquals(
        error.message,
        "Cannot read the tensor as its buffer must have the usage GPUBufferUsage.COPY_SRC",
      );
      await gpu.synchronize();
      device.destroy();
    },
  },
  {
    name: "a tensor is a range of a buffer, and says so",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      assertEquals(adoptDevice(device) === gpu, true, "a device is adopted once");
      const buffer = makeBuffer(device, 4 * 100);
      const whole = gpu.tensor(buffer);
      const part = gpu.tensor(buffer, { offset: 7, length: 5 });
      const rest = gpu.tensor(buffer, { offset: 95 });
      assertEquals([whole.length, part.length, rest.length], [100, 5, 5]);
      assertEquals([part.offset, part.byteLength, part.dtype], [7, 20, "float32"]);
      assert(part.buffer === buffer);
      assertEquals(printed(part), 'WebGpuTensor {"dtype":"float32","length":5,"offset":7}');
      whole.write(values(100));
      part.write(new Float32Array([0, 1, 2, 3, 4, 5, 6]).subarray(1, 6));
      const expected = values(100);
      expected.set([1, 2, 3, 4, 5], 7);
      assertBits(await whole.read(), expected, "whole");
      assertBits(await part.read(), [1, 2, 3, 4, 5], "part");
      assertBits(await rest.read(), expected.slice(95), "rest");
      const shared = new Float32Array(new SharedArrayBuffer(20));
      shared.set([5, 4, 3, 2, 1]);
      part.write(shared);
      assertBits(await part.read(), [5, 4, 3, 2, 1], "from shared memory");
      part.write(new Float32Array([1, 2, 3, 4, 5]));
      part[Symbol.dispose]();
      assert(printed(part).endsWith('"offset":7,"disposed":true}'));
      assertBits(await whole.read(), expected, "a buffer of the user's outlives a tensor");
      assertEquals(await gpu.tensor(0).read(), new Float32Array(0));
      device.destroy();
    },
  },
  {
    name: "tensors of one buffer that overlap are refused by name",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const buffer = makeBuffer(device, 4 * 100);
      const at = (offset: number) => gpu.tensor(buffer, { offset, length: 10 });
      const error = assertThrows(
        () => optimizerOf([{ data: at(0), grad: null }, { data: at(9), grad: null }], {}),
        RangeError,
      );
      assert(error.message.includes("they must not share memory"), error.message);
      optimizerOf([{ data: at(0), grad: at(20) }, { data: at(10), grad: at(30) }], {}).step();
      const optimizer = optimizerOf([{ data: at(0), grad: at(5) }], {});
      assertThrows(() => optimizer.step(), RangeError, "they must not share memory");
      device.destroy();
    },
  },
  {
    name: "a gradient of another length, dtype or device is refused",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const other = await openGpu(world);
      const data = gpu.tensor(3);
      for (
        const [grad, type, words] of [
          [gpu.tensor(4), RangeError, "its length must be 3, like its data"],
          [other.gpu.tensor(3), TypeError, "it must be float32 on the same GPU, like its data"],
          [new Float32Array(3), TypeError, "it must be float32 on the same GPU, like its data"],
        ] as const
      ) {
        const optimizer = optimizerOf([{ data, grad: grad as typeof data }], {});
        const error = assertThrows(() => optimizer.step(), type);
        assert(error.message.includes(words), error.message);
      }
      device.destroy();
      other.device.destroy();
    },
  },
  {
    name: "a step needs a buffer to be STORAGE only, and zeroGrad too",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const make = () => gpu.tensor(makeBuffer(device, 40, 128));
      const optimizer = optimizerOf([{ data: make(), grad: make() }], { momentum: 0.9 });
      optimizer.step();
      optimizer.zeroGrad();
      await optimizer.stepAsync({ zeroGrad: true, maxNorm: 1 });
      await optimizer.stateDictAsync();
      await assertRejects(() => optimizer.stateDictAsync({ parameters: true }), TypeError);
      device.destroy();
    },
  },
  {
    name: "a state that cannot be written is refused before anything changes",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const writable = gpu.tensor(values(10));
      const fixed = gpu.tensor(makeBuffer(device, 40, 128 | 4));
      const optimizer = optimizerOf([
        { data: writable, grad: gpu.tensor(10) },
        { data: fixed, grad: gpu.tensor(10) },
      ], {});
      const dict = await optimizer.stateDictAsync({ parameters: true });
      dict.parameters![0].data.fill(7);
      assertThrows(
        () => optimizer.loadStateDict(dict, { parameters: true }),
        TypeError,
        "COPY_DST",
      );
      assertBits(await writable.read(), values(10), "the first parameter");
      device.destroy();
    },
  },
  {
    name: "a state dict goes to another device, which then steps to the same bits",
    async run(world) {
      const one = await openGpu(world);
      const two = await openGpu(world);
      const make = ({ gpu }: typeof one, seed: number) =>
        [10, 300].map((length, i) => ({
          data: gpu.tensor(values(length, seed + i)),
          grad: gpu.tensor(values(length, i + 9)),
        }));
      const rule = { lr: 0.1, momentum: 0.9, nesterov: true };
      const [here, there] = [make(one, 0), make(two, 5)];
      const [a, b] = [optimizerOf(here, rule), optimizerOf(there, { lr: 1 })];
      a.step();
      a.step();
      b.loadStateDict(await a.stateDictAsync({ parameters: true }), { parameters: true });
      for (const optimizer of [a, b]) optimizer.step();
      for (const [i, { data }] of here.entries()) {
        assertBits(await there[i].data.read(), await data.read(), `data ${i}`);
        const [from, to] = [bufferOf(a, here[i])!, bufferOf(b, there[i])!];
        assertBits(await to.read(), await from.read(), `momentum ${i}`);
      }
      for (const optimizer of [a, optimizerOf(here, { lr: 1 })]) { // with and without momentum
        const error = assertThrows(() => optimizer.stateDict(), TypeError);
        assert(error.message.includes("stateDictAsync"), error.message);
      }
      one.device.destroy();
      two.device.destroy();
    },
  },
  {
    name: "float16 tensors of odd lengths at odd offsets: reads, writes, zeros and steps",
    feature: "shader-f16",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const buffer = makeBuffer(device, 2 * 100);
      const whole = gpu.tensor(buffer, { dtype: "float16" });
      const before = Float16Array.from(values(100, 4));
      whole.write(before);
      const ranges = [[3, 5], [9, 2], [12, 13], [31, 1]] as const;
      const params = ranges.map(([offset, length], i) => ({
        data: gpu.tensor(buffer, { offset, length, dtype: "float16" }),
        grad: gpu.tensor(Float16Array.from(values(length, i + 20))),
      }));
      const expected = before.slice();
      const rule = { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 };
      const twins = ranges.map(([offset, length], i): Twin => ({
        data: Float32Array.from(before.subarray(offset, offset + length)),
        grad: Float32Array.from(Float16Array.from(values(length, i + 20))),
        buffer: null,
      }));
      const optimizer = optimizerOf<"float16">(params, rule);
      for (let n = 0; n < 3; n++) {
        optimizer.step();
        for (const twin of twins) stepTwin(twin, rule, world.traits, {}, Math.f16round);
      }
      ranges.forEach(([offset], i) => expected.set(Float16Array.from(twins[i].data), offset));
      assertBits(await whole.read(), expected, "after three steps");
      assertBits(await params[0].data.read(), Float16Array.from(twins[0].data), "a part");
      params[0].data.write(Float16Array.of(1, 2, 3, 4, 5));
      expected.set([1, 2, 3, 4, 5], 3);
      assertBits(await whole.read(), expected, "after a write");
      optimizer.zeroGrad();
      for (const { grad } of params) assert((await grad.read()).every((x) => x === 0));
      const { state } = await optimizer.stateDictAsync();
      assertBits(state[2].momentum_buffer as Float32Array, twins[2].buffer!, "momentum");
      const { gradNorm } = await optimizer.stepAsync({ maxNorm: 1, zeroGrad: true });
      assertEquals(gradNorm, 0);
      device.destroy();
    },
  },
  {
    name: "float16 at an odd offset is written with bindings that are no larger than they may be",
    feature: "shader-f16",
    async run(world) {
      const device = await world.open();
      const sizes: number[] = [];
      const proxy = new Proxy(device, {
        get(target, name) {
          if (name === "createBindGroup") {
            return (descriptor: GPUBindGroupDescriptor) => {
              for (const { resource } of descriptor.entries) {
                sizes.push((resource as GPUBufferBinding).size!);
              }
              return target.createBindGroup(descriptor);
            };
          }
          const value = target[name as keyof GPUDevice] as unknown;
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      const most = 256;
      const gpu = adoptTuned(proxy, { windowBytes: most }) as unknown as Gpu;
      for (const length of [1, 126, 127, 128, 129, 255, 1001]) {
        const whole = gpu.tensor(makeBuffer(device, 2 * 1400), { dtype: "float16" });
        const expected = Float16Array.from(values(1400, 3));
        whole.write(expected);
        const part = gpu.tensor(whole.buffer, { offset: 129, length, dtype: "float16" });
        const content = Float16Array.from(values(length, 5));
        part.write(content);
        expected.set(content, 129);
        assertBits(await whole.read(), expected, `${length} elements`);
        assertBits(await part.read(), content, `${length} elements, read`);
      }
      assertEquals([sizes.length > 0, Math.max(...sizes) <= most], [true, true]);
      device.destroy();
    },
  },
];
