/** Steps with options and sparse gradients, beyond torch's numbers, which `clipping_golden_test.ts` has. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { clipGradValue, GradScaler, SGD } from "@descent/sgd";
import type { FloatArray, SparseGrad, SparseParameter, StepOptions } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

const array = (...values: number[]) => new Float32Array(values);

/** Rows 1 and 0 of a matrix of 2 x 2; the sums of their entries are [8, 8] and [1, 1]. */
const given = (): SparseGrad => ({
  indices: new Int32Array([1, 0, 1]),
  values: array(6, 2, 1, 1, 2, 6),
  shape: [2, 2],
});

const clipTo = (limit: number, norm: number) => (x: number) =>
  Math.fround(x * Math.fround(limit / (norm + 1e-6)));

const CASES: readonly (readonly [StepOptions, readonly number[]])[] = [
  [{ gradScale: 2 }, [0.5, 0.5, 4, 4]],
  [{ maxValue: 3 }, [1, 1, 3, 3]],
  [{ checkFinite: true }, [1, 1, 8, 8]],
  [{ maxNorm: 4, normType: Infinity }, [1, 1, 8, 8].map(clipTo(4, 8))],
  [{ maxNorm: 9.5, normType: 1 }, [1, 1, 8, 8].map(clipTo(9.5, 19))],
  [{ maxNorm: 90, normType: 1, gradScale: 2, maxValue: 2 }, [0.5, 0.5, 2, 2]],
];

testOnBackends("rows are summed, then unscaled, checked, clipped and zeroed", async (backend) => {
  const options = [{}, { momentum: 0.5 }, { momentum: 0.5, foreach: false }, { sign: true }];
  for (const isAsync of [false, true]) {
    for (const [own, steps] of CASES) {
      for (const h of options) {
        const grad = given();
        const s: SparseParameter = { data: array(0, 0, 0, 0), grad };
        const w = { data: array(0), grad: array(1) };
        const optimizer = new SGD([s, w], { lr: 1, ...h, backend });
        if (isAsync) await optimizer.stepAsync({ ...own, zeroGrad: true });
        else optimizer.step({ ...own, zeroGrad: true });
        const expected = Float32Array.from(steps, (x) => "sign" in h ? -1 : -x);
        assertEquals(s.data, expected, JSON.stringify([own, h, isAsync]));
        assertEquals(grad, given(), "the step works on a copy");
        const { indices, values } = s.grad as { indices: Int32Array; values: FloatArray };
        assertEquals([indices.length, values.length, w.grad], [0, 0, array(0)]);
      }
    }
  }
});

testOnBackends("norms count sparse gradients by group, and infinities in them skip", (backend) => {
  const s: SparseParameter = { data: array(0, 0, 0, 0), grad: given() };
  const w = { data: array(0), grad: array(4) };
  const groups = [{ params: [w] }, { params: [s] }];
  const optimizer = new SGD(groups, { lr: 1, momentum: 0.5, backend });
  optimizer.step({ maxNorm: 100, maxNormPer: "group" });
  const sparseNorm = Math.hypot(1, 1, 8, 8);
  const { gradNorm, groupNorms } = optimizer.lastStep!;
  assertEquals(groupNorms, [4, sparseNorm]);
  assert(Math.abs(gradNorm! - Math.hypot(4, sparseNorm)) < 1e-12);
  const before = [s.data.slice(), w.data.slice()];
  s.grad = { indices: new Int32Array([0, 0]), values: array(Infinity, 0, 1, 0), shape: [2, 2] };
  optimizer.step({ checkFinite: true });
  assertEquals([optimizer.lastStep!.skipped, [s.data, w.data]], [true, before]);
  s.grad = { indices: new Int32Array([0]), values: array(8, 0), shape: [2, 2] };
  const scaler = new GradScaler({ initScale: 8 });
  assertEquals(scaler.step(optimizer).skipped, false);
  assertEquals(s.data[0], before[0][0] - 1 - 0.5);
});

testOnBackends("a step whose rows are all named once has the bits of a plain one", (backend) => {
  const make = () => {
    const data = Float32Array.from({ length: 300 }, (_, i) => Math.sin(i));
    const values = Float32Array.from({ length: 18 }, (_, i) => Math.cos(i));
    const grad = {
      indices: new Uint32Array([70, 3, 99, 0, 14, 15]),
      values,
      shape: [100, 3] as const,
    };
    return { data, grad } as SparseParameter;
  };
  for (const h of [{}, { momentum: 0.9 }, { momentum: 0.9, nesterov: true }, { maximize: true }]) {
    const [plain, checked] = [make(), make()];
    const optimizers = [plain, checked].map((w) => new SGD([w], { lr: 0.1, ...h, backend }));
    for (let i = 0; i < 3; i++) {
      optimizers[0].step();
      optimizers[1].step({ checkFinite: true, maxNorm: 1e9 });
      assertEquals(checked.data, plain.data);
    }
    const rows = optimizers.map((optimizer) => optimizer.stateDict().state);
    assertEquals(rows[1], rows[0]);
  }
});

testOnBackends("a matrix without entries, or without elements, has the norm 0", (backend) => {
  const none = { indices: new Int32Array(0), values: array(), shape: [2, 2] as const };
  const empty = { indices: new Int32Array(0), values: array(), shape: [0, 2] as const };
  const params: SparseParameter[] = [
    { data: array(1, 1, 1, 1), grad: none },
    { data: array(), grad: empty },
  ];
  const optimizer = new SGD(params, { lr: 1, backend });
  optimizer.step({ maxNorm: 1, gradScale: 2 });
  assertEquals(optimizer.lastStep!.gradNorm, 0);
  assertEquals(params[0].data, array(1, 1, 1, 1));
});

testOnBackends("gradients are still not added to sparse ones", (backend) => {
  const s: SparseParameter = { data: array(0, 0, 0, 0), grad: given() };
  const optimizer = new SGD([s], { lr: 1, backend });
  const options = { maxNorm: 1, addGradients: [[array(1, 1, 1, 1)]] };
  const text =
    "Cannot step with addGradients as grad of parameter 0 must be an array: it is sparse";
  assertThrows(() => optimizer.step(options), TypeError, text);
  assertEquals(s.data, array(0, 0, 0, 0));
});

testOnBackends(
  "sums of one step have no part in the next, whatever their number and type",
  (backend) => {
    const s: SparseParameter = { data: array(0, 0, 0, 0), grad: given() };
    const optimizer = new SGD([s], { lr: 1, backend });
    optimizer.step({ checkFinite: true });
    assertEquals(s.data, array(-1, -1, -8, -8));
    s.grad = { indices: new Int32Array([1]), values: array(2, 3), shape: [2, 2] };
    optimizer.step({ checkFinite: true });
    assertEquals(s.data, array(-1, -1, -10, -11));
    s.data = new Float64Array(4);
    s.grad = { ...given(), values: new Float64Array([6, 2, 1, 1, 2, 6]) };
    optimizer.step({ maxNorm: 1e9 });
    assertEquals(s.data, new Float64Array([-1, -1, -8, -8]));
  },
);

testOnBackends("a gradient whose methods lie is read from its memory", (backend) => {
  const values = array(6, 2, 1, 1, 2, 6);
  Object.defineProperty(values, "subarray", { value: () => array() });
  const s: SparseParameter = { data: array(0, 0, 0, 0), grad: { ...given(), values } };
  new SGD([s], { lr: 1, backend }).step({ maxValue: 5 });
  assertEquals(s.data, array(-1, -1, -5, -5));
  clipGradValue([s], 5, { backend });
  assertEquals(Array.from({ length: 6 }, (_, i) => values[i]), [5, 5, 1, 1, 0, 0]);
});
