/** What `step` does with its options beyond the numbers, and what it refuses. */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { FloatArray, Parameter, SparseParameter, StepOptions } from "@descent/sgd";
import { cpuMissing, testOnBackends } from "../support/backends.ts";
import { digest, generate, toHex } from "../support/golden.ts";

const array = (...values: number[]) => new Float32Array(values);
const parameter = (grad: FloatArray, name?: string): Parameter => ({
  data: grad.slice().fill(1),
  grad,
  ...(name && { name }),
});

const WRONG: readonly [StepOptions | unknown, typeof TypeError | typeof RangeError, string][] = [
  [null, TypeError, "there must be a closure or an object with options: current value is null"],
  [3, TypeError, "there must be a closure or an object with options: current value is 3"],
  [
    { gradscale: 2 },
    TypeError,
    'option "gradscale" as it does not exist: the options are gradScale',
  ],
  [{ gradScale: "2" }, TypeError, 'gradScale as it must be a number: current value is "2"'],
  [{ gradScale: 0 }, RangeError, "gradScale as it must be finite and > 0: current value is 0"],
  [{ gradScale: -1 }, RangeError, "gradScale as it must be finite and > 0: current value is -1"],
  [{ gradScale: Infinity }, RangeError, "gradScale as it must be finite and > 0"],
  [{ gradScale: 1e46 }, RangeError, "gradScale as a float32 must hold 1 / gradScale"],
  [{ gradScale: 1e-39 }, RangeError, "gradScale as a float32 must hold 1 / gradScale"],
  [[], TypeError, "there must be a closure or an object with options: current value is of type"],
  [{ maxNorm: -1 }, RangeError, "maxNorm as it must be >= 0: current value is -1"],
  [{ maxNorm: NaN }, RangeError, "maxNorm as it must be >= 0: current value is NaN"],
  [{ maxNorm: null }, TypeError, "maxNorm as it must be a number: current value is null"],
  [{ maxValue: -0.5 }, RangeError, "maxValue as it must be >= 0: current value is -0.5"],
  [{ maxNorm: 1, maxNormPer: "all" }, TypeError, 'maxNormPer as it must be "optimizer" or "group"'],
  [{ maxNormPer: "group" }, TypeError, "maxNormPer as it needs maxNorm"],
  [{ normType: 2 }, TypeError, "normType as it needs maxNorm: current value is 2"],
  [{ maxNorm: 1, normType: 3 }, RangeError, "normType as it must be 1, 2 or Infinity"],
  [{ maxNorm: 1, normType: "inf" }, TypeError, "normType as it must be a number"],
  [{ checkFinite: 1 }, TypeError, "checkFinite as it must be true or false: current value is 1"],
  [{ zeroGrad: "no" }, TypeError, 'zeroGrad as it must be true or false: current value is "no"'],
];

testOnBackends(
  "options that are not valid are refused before anything happens",
  async (backend) => {
    for (const [options, kind, text] of WRONG) {
      const w = parameter(array(2));
      const optimizer = new SGD([w], { lr: 1, backend });
      const own = options as StepOptions;
      assertThrows(() => optimizer.step(own), kind, text);
      const closure = () => assert(false, "the closure was called");
      if (options !== undefined) assertThrows(() => optimizer.step(closure, own), kind, text);
      assert(await optimizer.stepAsync(own).then(() => null, (error) => error) instanceof kind);
      assertEquals([w.data, w.grad, optimizer.lastStep], [array(1), array(2), null]);
    }
  },
);

testOnBackends("what stands before options is a function, or nothing", (backend) => {
  const optimizer = new SGD([parameter(array(1))], { lr: 1, backend });
  const step = optimizer.step.bind(optimizer) as (...args: unknown[]) => unknown;
  assertThrows(() => step({}, {}), TypeError, "closure must be a function: current value is");
  assertEquals(step(undefined, { maxValue: 1 }), undefined);
});

testOnBackends(
  "a closure runs before the options are used, and its loss is returned",
  (backend) => {
    const w = parameter(array(0));
    const optimizer = new SGD([w], { lr: 1, backend });
    const closure = () => {
      w.grad![0] = 10;
      return 42;
    };
    assertEquals(optimizer.step(closure, { gradScale: 2, maxValue: 3 }), 42);
    assertEquals(w.data, array(-2));
  },
);

testOnBackends("lastStep reports what was measured, and null of a plain step", (backend) => {
  const [a, b] = [parameter(array(3, 0)), parameter(array(0, 4))];
  const optimizer = new SGD([{ params: [a] }, { params: [b] }], { lr: 0, backend });
  const nothing = { skipped: false, gradNorm: null, groupNorms: null, clipCoefficients: null };
  const measured = { skipped: false, gradNorm: 5, groupNorms: [3, 4] };
  assertEquals(optimizer.lastStep, null);
  for (
    const [options, expected] of [
      [undefined, nothing],
      [{}, nothing],
      [{ zeroGrad: false, maxValue: 2 }, nothing],
      [{ checkFinite: true }, { ...measured, clipCoefficients: null }],
      [{ gradScale: 1 }, { ...measured, clipCoefficients: null }],
      [{ gradScale: 1, checkFinite: false }, nothing],
      [{ maxNorm: Infinity }, { ...measured, clipCoefficients: [1, 1] }],
      [{ maxNorm: 10 }, { ...measured, clipCoefficients: [1, 1] }],
      [{ maxNorm: 1 }, { ...measured, clipCoefficients: [1 / (5 + 1e-6), 1 / (5 + 1e-6)] }],
      [{ maxNorm: 3.5, maxNormPer: "group" }, {
        ...measured,
        clipCoefficients: [1, 3.5 / (4 + 1e-6)],
      }],
    ] as const
  ) {
    optimizer.step(options);
    assertEquals(optimizer.lastStep, expected, JSON.stringify(options));
  }
});

testOnBackends(
  "a skipped step leaves data, buffers and first steps, and zeroes if asked",
  (backend) => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      for (
        const [options, value] of [[{ gradScale: 4 }, bad], [{ gradScale: 1e-30 }, 1e30]] as const
      ) {
        const [w, v] = [parameter(array(8, 8)), parameter(array(8))];
        const optimizer = new SGD([w, v], { lr: 1, momentum: 0.5, dampening: 0.5, backend });
        w.grad!.set([1, value]);
        optimizer.step(options);
        assert(optimizer.lastStep!.skipped);
        assert(!Number.isFinite(optimizer.lastStep!.gradNorm));
        assertEquals([w.data, w.grad, v.grad], [array(1, 1), array(1, value), array(8)]);
        assertEquals(optimizer.state.get(v)!.momentumBuffer, null);
        optimizer.step({ ...options, zeroGrad: true });
        assertEquals([w.data, v.data, w.grad, v.grad], [
          array(1, 1),
          array(1),
          array(0, 0),
          array(0),
        ]);
        v.grad!.fill(8);
        optimizer.step({ gradScale: 4, zeroGrad: true });
        // A first step has no dampening: the buffer is 8 / 4.
        assertEquals([v.data, optimizer.state.get(v)!.momentumBuffer], [array(-1), array(2)]);
        assertEquals([optimizer.lastStep!.skipped, v.grad], [false, array(0)]);
      }
    }
  },
);

testOnBackends("a norm that overflows skips where it would clip, and only there", (backend) => {
  const w = parameter(new Float64Array([2 ** 600, 2 ** 600]));
  const optimizer = new SGD([w], { lr: 2 ** -600, backend });
  optimizer.step({ maxNorm: 1 });
  assertEquals([optimizer.lastStep!.skipped, w.data[0]], [true, 1]);
  optimizer.step({ gradScale: 1 });
  assertEquals([optimizer.lastStep!.skipped, w.data[0]], [false, 0]);
});

testOnBackends("a gradient of null is neither measured nor zeroed nor stepped", (backend) => {
  const [w, v] = [parameter(array(3)), { data: array(1), grad: null }];
  const optimizer = new SGD([w, v], { lr: 1, momentum: 0.5, weightDecay: 0.5, backend });
  optimizer.step({ maxNorm: 100, zeroGrad: true });
  assertEquals([optimizer.lastStep!.gradNorm, v.data, v.grad], [3, array(1), null]);
  assertEquals(optimizer.state.get(v)!.momentumBuffer, null);
});

testOnBackends("gradients that share memory can be clipped, but not zeroed", (backend) => {
  for (const from of [0, 1]) {
    const memory = array(3, 4, 5);
    const grads = [memory.subarray(0, 2), memory.subarray(from, from + 2)];
    const [w, v] = [parameter(grads[0], "w"), parameter(grads[1], "v")];
    const optimizer = new SGD([w, v], { lr: 1, backend });
    for (let i = 0; i < 2; i++) {
      const error = assertThrows(() => optimizer.step({ zeroGrad: true }), RangeError);
      assert(/grad of parameter 0 \("w"\) and grad of parameter 1 \("v"\)/.test(error.message));
      assertEquals([w.data, memory], [array(1, 1), array(3, 4, 5)]);
    }
    optimizer.step({ maxValue: 1 });
    assertEquals(v.data, array(0, 0));
    v.grad = array(1, 1);
    optimizer.step({ zeroGrad: true });
    assertEquals([v.grad, memory], [array(0, 0), array(0, 0, 5)]);
    v.grad = grads[1]; // once all was well
    assertThrows(() => optimizer.step({ zeroGrad: true }), RangeError, "must not share memory");
  }
});

const sparse = (): SparseParameter & { name: string } => ({
  data: array(1, 1, 1, 1),
  grad: { indices: new Int32Array([1]), values: array(2, 3), shape: [2, 2] },
  name: "s",
});

testOnBackends(
  "a sparse gradient whose values are zeroed with another one is refused",
  (backend) => {
    const [s, w] = [sparse(), parameter(array(0, 0))];
    w.grad = (s.grad as { values: Float32Array }).values;
    const optimizer = new SGD([s, w], { lr: 1, backend });
    assertThrows(
      () => optimizer.step({ zeroGrad: true }),
      RangeError,
      "values of grad of parameter 0",
    );
    assertEquals(s.data, array(1, 1, 1, 1));
  },
);

testOnBackends("options and differentiable are refused together", (backend) => {
  for (const options of [{ gradScale: 2 }, { maxNorm: 1 }, { maxValue: 1 }, { zeroGrad: true }]) {
    const [w, v] = [parameter(array(1)), parameter(array(1))];
    const groups = [{ params: [w] }, { params: [v], differentiable: true }];
    const optimizer = new SGD(groups, { lr: 1, backend });
    assertThrows(() => optimizer.step(options), TypeError, "no group may be differentiable");
    optimizer.step({ zeroGrad: false });
    assertEquals([w.data, optimizer.recordedSteps], [array(0), 1]);
  }
});

testOnBackends("a coefficient clips one step, and not the next", (backend) => {
  const w = parameter(array(4));
  const optimizer = new SGD([w], { lr: 1, backend });
  optimizer.step({ maxNorm: 1, maxValue: 0.5, gradScale: 2 });
  const { data: [after] } = w;
  optimizer.step();
  assertEquals(w.data[0], after - 4);
  optimizer.step({ zeroGrad: false });
  assertEquals(w.data[0], after - 8);
});

testOnBackends("a step with options that do nothing has the bits of a plain one", (backend) => {
  const run = (step: (optimizer: SGD) => void) => {
    const params = (["float32", "float64"] as const).flatMap((dtype) =>
      [1, 63, 64, 9000].map((size): Parameter => ({
        data: generate(dtype, "ordinary", [7, size, 0], size),
        grad: generate(dtype, "ordinary", [7, size, 1], size),
      }))
    );
    const optimizer = new SGD(params, { lr: 0.1, momentum: 0.9, weightDecay: 0.1, backend });
    for (let i = 0; i < 3; i++) step(optimizer);
    return params.map(({ data }) => toHex(data));
  };
  const plain = run((optimizer) => optimizer.step());
  for (const options of [{}, { gradScale: 1 }, { maxNorm: 1e9 }, { maxValue: Infinity }]) {
    assertEquals(run((optimizer) => optimizer.step(options)), plain, JSON.stringify(options));
  }
});

testOnBackends("arrays are the ones that were there: none is replaced by a step", (backend) => {
  const w = parameter(array(1, 2));
  const { data, grad } = w;
  new SGD([w], { lr: 1, backend }).step({ gradScale: 2, maxNorm: 1, zeroGrad: true });
  assertStrictEquals(w.data, data);
  assertStrictEquals(w.grad, grad);
});

Deno.test({
  name: `norms and clipped steps have the same bits on js and cpu${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  fn: () => {
    for (const size of [0, 1, 15, 16, 17, 4095, 4096, 4097, 300_001]) {
      for (const options of [{ maxNorm: 1 }, { gradScale: 3, maxNorm: 1 / 3, maxValue: 0.001 }]) {
        const [a, b] = (["js", "cpu"] as const).map((backend) => {
          const params = (["float32", "float64"] as const).map((dtype) => ({
            data: generate(dtype, "ordinary", [5, size, 0], size),
            grad: generate(dtype, "ordinary", [5, size, 1], size),
          }));
          const optimizer = new SGD(params, { lr: 0.1, backend });
          optimizer.step(options);
          // float64 products are rounded on js, float32 ones are not.
          return { report: optimizer.lastStep!, data: digest([params[0].data]) };
        });
        assertEquals(a, b, `${size} elements`);
      }
    }
  },
});
