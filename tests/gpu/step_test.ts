/** Steps on a GPU: through the class and the function, over any layout of memory. */

import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { SGD, sgd, sgdVjp } from "@descent/sgd";
import { openGpu } from "@descent/sgd/gpu";
import type { GroupOptions, Parameter } from "@descent/sgd";
import type { Gpu, GpuTensor } from "@descent/sgd/gpu";
import { openTuned } from "../../src/gpu/gpu.ts";
import { gpuTest, TINY, values } from "./gpu.ts";

type GpuParameter = Parameter<GpuTensor>;

/** Sizes of one vector, of parts of one, around a chunk, and nothing. */
const SIZES = [10, 0, 1, 64, 4095, 4096, 4097, 3, 9000];

function parameters(gpu: Gpu, sizes: readonly number[] = SIZES): GpuParameter[] {
  return sizes.map((n, i) => ({
    data: gpu.tensor(values(n, i)),
    grad: gpu.tensor(values(n, i + 50)),
  }));
}

const read = (params: readonly GpuParameter[]) => params.map(({ data }) => data.readSync());

const ALL: GroupOptions = {
  ...{ lr: 0.1, momentum: 0.75, weightDecay: 0.5, nesterov: true, maximize: true },
};

gpuTest("the bits do not depend on how memory is cut into blocks and chunks", (gpu) => {
  const run = (device: Gpu, options: GroupOptions) => {
    const params = parameters(device, [...SIZES, 1000]);
    const optimizer = new SGD(params, { lr: 0.1, ...options });
    for (let i = 0; i < 3; i++) optimizer.step();
    const buffers = params.map((p) => optimizer.state.get(p)!.momentumBuffer as GpuTensor | null);
    return [...read(params), ...buffers.map((buffer) => buffer && buffer.readSync())];
  };
  const shrunk = { ...ALL, decoupledWeightDecay: true };
  for (
    const options of [ALL, { ...ALL, sign: true }, shrunk, {}, { momentum: 0.5, dampening: 0.25 }]
  ) {
    const expected = run(gpu, options);
    for (const maxBlockBytes of [256, 1024, 1 << 16]) {
      using other = openTuned({}, { maxBlockBytes, chunkElements: maxBlockBytes / 16 });
      assertEquals(run(other, options), expected);
    }
  }
});

gpuTest("a step writes parameters and buffers, and nothing else", (gpu) => {
  const around = () => gpu.tensor(values(67, 9));
  const params: GpuParameter[] = [];
  const others: GpuTensor[] = [around()];
  for (const n of [1, 2, 63, 64, 65, 66]) {
    params.push({ data: gpu.tensor(n), grad: gpu.tensor(values(n)) });
    others.push(around());
  }
  const optimizer = new SGD(params, { lr: 0.1, momentum: 0.9 });
  for (let i = 0; i < 2; i++) optimizer.step();
  for (const other of others) assertEquals(other.readSync(), values(67, 9));
  for (const { grad } of params) assertEquals(grad!.readSync(), values(grad!.length));
}, TINY);

gpuTest("a step may need more workgroups than one dispatch can have", (gpu) => {
  const n = 4 * (gpu.info.limits.maxWorkgroups + 70);
  const params = [{ data: gpu.tensor(n), grad: gpu.tensor(values(n, 50)) }];
  new SGD(params, { lr: 1 }).step();
  const grad = values(n, 50);
  const wrong = params[0].data.readSync().findIndex((x, i) => x !== -grad[i]);
  assertEquals(wrong, -1);
}, { chunkElements: 4 });

gpuTest("a tensor larger than the largest binding is stepped to its end", (gpu) => {
  const n = gpu.info.limits.maxBindingBytes / 4 + 1000;
  if (n > 1 << 26) return; // where bindings are larger, `TINY` has to do
  const ones = new Float32Array(n).fill(1);
  const param = { data: gpu.tensor(ones), grad: gpu.tensor(ones) };
  new SGD([param], { lr: 0.5 }).step();
  assertEquals(param.data.readSync().every((x) => x === 0.5), true);
});

gpuTest("arrays and tensors step together, each where it is", (gpu) => {
  const host = () => ({ data: values(100), grad: values(100, 3) });
  const device = () => ({ data: gpu.tensor(values(100)), grad: gpu.tensor(values(100, 3)) });
  for (const backend of ["js", "auto"] as const) {
    const params = [host(), device(), host(), device()];
    const options = { lr: 0.5, momentum: 0.5 }; // exact in float32, fused or not
    const optimizer = new SGD<GpuTensor>(
      [{ params: params.slice(0, 2) }, { params: params.slice(2), foreach: false }],
      { ...options, backend },
    );
    for (let i = 0; i < 3; i++) optimizer.step();
    const [a, b, c, d] = params.map(({ data }) =>
      data instanceof Float32Array ? data : (data as GpuTensor).readSync()
    );
    assertEquals([b, c, d], [a, a, a]);
    assertEquals(a[0] === values(100)[0], false);
    assertEquals(optimizer.backend === "gpu", false);
  }
});

gpuTest("one optimizer steps tensors of several GPUs", (gpu) => {
  using other = openGpu();
  const params = [...parameters(gpu), ...parameters(other)];
  const optimizer = new SGD(params, { lr: 0.1, momentum: 0.9 });
  for (let i = 0; i < 2; i++) optimizer.step();
  const results = read(params);
  assertEquals(results.slice(SIZES.length), results.slice(0, SIZES.length));
  assertEquals(optimizer.backend, "gpu");
});

gpuTest("a parameter cannot be half on the GPU, and then nothing is written", (gpu) => {
  using other = openGpu();
  const array = { data: values(5), grad: values(5) };
  const tensor = { data: gpu.tensor(values(5)), grad: gpu.tensor(values(5)) };
  const wrong: [Partial<Parameter<GpuTensor | Float32Array>>, string][] = [
    [{ data: gpu.tensor(5), grad: values(5) }, "must be float32 on the same GPU, like its data"],
    [{ data: values(5), grad: gpu.tensor(5) }, "must be float32, like its data"],
    [{ data: gpu.tensor(5), grad: other.tensor(5) }, "on the same GPU"],
  ];
  for (const [bad, text] of wrong) {
    const params = [array, tensor, bad as typeof array];
    const optimizer = new SGD<GpuTensor>(params, { lr: 1 });
    assertThrows(() => optimizer.step(), TypeError, text);
    assertEquals([array.data, tensor.data.readSync()], [values(5), values(5)]);
  }
  const short = { data: gpu.tensor(5), grad: gpu.tensor(4) };
  assertThrows(() => new SGD([short], { lr: 1 }).step(), RangeError, "current length is 4");
  const shared = new SGD([{ data: tensor.data, grad: tensor.data }], { lr: 1 });
  assertThrows(() => shared.step(), RangeError, "must not share memory");
});

gpuTest(
  "a step refuses tensors that were disposed, and continues once they are replaced",
  (gpu) => {
    const params = parameters(gpu, [5, 6]);
    const optimizer = new SGD(params, { lr: 1 });
    optimizer.step();
    const before = params[0].data.readSync();
    params[1].grad![Symbol.dispose]();
    assertThrows(() => optimizer.step(), TypeError, "the tensor as it has been disposed");
    assertEquals(params[0].data.readSync(), before);
    params[1].grad = gpu.tensor(6);
    optimizer.step();
    assertEquals(params[0].data.readSync() === before, false);
  },
);

gpuTest("a gradient that comes late starts its own buffer; null skips a parameter", (gpu) => {
  const [early, late] = parameters(gpu, [4, 4]);
  const grad = late.grad;
  late.grad = null;
  const optimizer = new SGD([early, late], { lr: 1, momentum: 0.5, dampening: 0.5 });
  optimizer.step();
  assertEquals(late.data.readSync(), values(4, 1));
  assertStrictEquals(optimizer.state.get(late)!.momentumBuffer, null);
  late.grad = grad;
  optimizer.step();
  const buffer = optimizer.state.get(late)!.momentumBuffer as GpuTensor;
  assertEquals(buffer.readSync(), values(4, 51), "no dampening at its first step");
});

gpuTest("zeroGrad zeroes gradients on the device, or sets them to null", (gpu) => {
  for (const setToNull of [false, true]) {
    const params = parameters(gpu);
    const array = { data: values(3), grad: values(3) as Float32Array | null };
    const optimizer = new SGD<GpuTensor>([...params, array], { lr: 1 });
    optimizer.zeroGrad({ setToNull });
    if (setToNull) assertEquals(params.map(({ grad }) => grad), params.map(() => null));
    else {
      const grads = params.map(({ grad }) => grad!.readSync());
      assertEquals(grads, SIZES.map((n) => new Float32Array(n)));
    }
    assertEquals(array.grad, setToNull ? null : new Float32Array(3));
    assertEquals(read(params), SIZES.map((n, i) => values(n, i)));
  }
});

gpuTest("what crosses the bus: tables once, a few bytes for a new lr, else nothing", (gpu) => {
  const params = parameters(gpu, Array.from({ length: 161 }, (_, i) => i));
  const optimizer = new SGD(params, { lr: 0.5, momentum: 0.5 });
  const sent = () => gpu.memory.toDevice;
  const cost = (change: () => void) => {
    const before = sent();
    change();
    optimizer.step();
    return sent() - before;
  };
  const nothing = () => {};
  assertEquals([cost(nothing) > 0, cost(nothing) > 0], [true, true], "first and later steps");
  assertEquals(cost(nothing), 0);
  for (let i = 0; i < 100; i++) {
    assertEquals(cost(() => optimizer.paramGroups[0].lr = 1 / (i + 3)), 20);
  }
  assertEquals(cost(nothing), 0);
});

gpuTest("every lr holds for its own step, however many steps wait in the queue", async (gpu) => {
  for (let round = 0; round < 25; round++) { // new tables each time, while the queue is at work
    const param = { data: gpu.tensor(1), grad: gpu.tensor(new Float32Array([-1])) };
    const optimizer = new SGD([param], { lr: 0 });
    let expected = 0;
    for (let i = 1; i <= 100; i++) {
      optimizer.paramGroups[0].lr = i;
      optimizer.step();
      expected += i;
    }
    assertEquals(await param.data.read(), new Float32Array([expected]));
  }
});

gpuTest("changed options take effect, and old ones come back", (gpu) => {
  const param = { data: gpu.tensor(2), grad: gpu.tensor(new Float32Array([4, -2])) };
  const optimizer = new SGD([param], { lr: 1 });
  const group = optimizer.paramGroups[0];
  const steps = [{ sign: true }, { maximize: true }, { sign: false }, { maximize: false }];
  const expected = [[-1, 1], [0, 0], [4, -2], [0, 0]];
  steps.forEach((change, i) => {
    Object.assign(group, change);
    optimizer.step();
    assertEquals([...param.data.readSync()], expected[i]);
  });
});

gpuTest("the function steps tensors and fills in their buffers", (gpu) => {
  const params = [gpu.tensor(values(300)), gpu.tensor(values(4))];
  const grads = [gpu.tensor(values(300, 2)), null];
  const buffers: (GpuTensor | null)[] = [null, null];
  const options = {
    ...{ lr: 1, momentum: 0.5, dampening: 0, weightDecay: 0, nesterov: false, maximize: false },
  };
  for (let i = 0; i < 2; i++) sgd(params, grads, buffers, options);
  assertStrictEquals(buffers[1], null);
  assertEquals(buffers[0]!.readSync(), values(300, 2).map((x) => 1.5 * x));
  const grad = values(300, 2);
  assertEquals(params[0].readSync(), values(300).map((x, i) => x - 2.5 * grad[i]));
  assertEquals(params[1].readSync(), values(4));
}, TINY);

gpuTest("float16 tensors are stepped in float32 and rounded once", (gpu) => {
  if (!gpu.info.float16) return;
  const [p, g] = [Float16Array.from(values(100)), Float16Array.from(values(100, 5))];
  const param = { data: gpu.tensor(p), grad: gpu.tensor(g) };
  const full = { data: Float32Array.from(p), grad: Float32Array.from(g) };
  const options = { lr: 0.125, momentum: 0.5, weightDecay: 0.25 };
  const optimizer = new SGD([param], options);
  optimizer.step();
  new SGD([full], { ...options, backend: "js" }).step();
  assertEquals(param.data.readSync(), Float16Array.from(full.data));
  const buffer = optimizer.state.get(param)!.momentumBuffer as GpuTensor<"float16">;
  assertEquals([buffer.dtype, buffer.length], ["float16", 100]);
});

gpuTest("sign gives +1, -1 and 0 for zeros and NaN, and special values propagate", (gpu) => {
  const grads = new Float32Array([3, -2, 0, -0, NaN, Infinity, -Infinity]);
  const param = { data: gpu.tensor(new Float32Array(7).fill(5)), grad: gpu.tensor(grads) };
  new SGD([param], { lr: 1, sign: true }).step();
  assertEquals([...param.data.readSync()], [4, 6, 5, 5, 5, 4, 6]);
  new SGD([param], { lr: 1 }).step();
  assertEquals([...param.data.readSync()], [1, 8, 5, 5, NaN, -Infinity, Infinity]);
});

gpuTest("sparse and differentiable steps are refused, and then nothing is written", (gpu) => {
  const [dense, w] = parameters(gpu, [6, 6]);
  const before = read([dense, w]);
  const sparse = { indices: new Int32Array([1]), values: new Float32Array(2), shape: [3, 2] };
  const options = { ...ALL, dampening: 0, lr: 1 } as Parameters<typeof sgd>[3];
  const optimizer = new SGD([dense, w], { lr: 1 });
  const recorder = new SGD([dense, w], { lr: 1, differentiable: true });
  const cases: [string, () => void][] = [
    ["parameter 1 as it must be a tensor, like its data: it is sparse", () => optimizer.step()],
    ["as it must be a tensor", () => sgd([w.data], [sparse as never], [null], options)],
  ];
  const grad = w.grad;
  w.grad = sparse as never;
  for (const [message, call] of cases) assertThrows(call, TypeError, message);
  w.grad = grad;
  assertThrows(() => recorder.step(), TypeError, "differentiable is true: it is on a GPU");
  assertEquals([recorder.recordedSteps, read([dense, w])], [0, before]);
  const vjp = () => sgdVjp([w.data as never], [grad as never], [null], { params: [null] }, options);
  assertThrows(vjp, TypeError, "parameter 0");
  optimizer.step();
  assertEquals(read([w])[0] === before[1], false);
});

gpuTest("updates on a GPU are computed in float32, which limits hyperparameters", (gpu) => {
  const dtypes = gpu.info.float16 ? ["float32", "float16"] as const : ["float32"] as const;
  for (const dtype of dtypes) {
    const [data, grad] = [gpu.tensor(3, { dtype }), gpu.tensor(3, { dtype })];
    const optimizer = new SGD([{ data, grad }], { lr: 1e38 });
    optimizer.step();
    optimizer.paramGroups[0].lr = 1e39;
    assertThrows(() => optimizer.step(), RangeError, "lr must be at most 3.4028234663852886e+38");
  }
});

gpuTest("groups change, and momentum goes with its tensor", (gpu) => {
  const run = (create: (array: Float32Array<ArrayBuffer>) => Float32Array | GpuTensor) => {
    const params = [5, 64, 300].map((n, i) => ({
      data: create(values(n, i)),
      grad: create(values(n, i + 9)),
    })) as GpuParameter[];
    const [a, b, c] = params;
    const optimizer = new SGD<GpuTensor>(
      [{ params: [a] }, { params: [b], lr: 0.25, momentum: 0.25 }, { params: [c] }],
      { lr: 0.5, momentum: 0.5, backend: "js" }, // exact in float32, fused or not
    );
    const acts = [
      () => optimizer.moveParameter(a, 1),
      () => optimizer.removeParamGroup(2),
      () => optimizer.moveParameter(b, 0),
      () => optimizer.resetState(),
      () => optimizer.removeParamGroup(1),
    ];
    for (const act of acts) {
      optimizer.step();
      act();
    }
    optimizer.step();
    return params.map(({ data }) => data instanceof Float32Array ? data : data.readSync());
  };
  assertEquals(run((array) => gpu.tensor(array)), run((array) => array));
});
