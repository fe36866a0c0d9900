/** `clipGradNorm` beyond torch's numbers, which `fused_test.ts` holds it to. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { BFloat16Array, clipGradNorm, SGD } from "@descent/sgd";
import type { FloatArray, Parameter } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

const array = (...values: number[]) => new Float32Array(values);
type Params = Iterable<Parameter | FloatArray>;

testOnBackends("gradients of parameters and arrays are clipped together, in place", (backend) => {
  const parameter = { data: array(7, 7), grad: array(3, 0) };
  const alone = new Float64Array([0, -4]);
  const skipped = { data: array(1), grad: null };
  assertEquals(clipGradNorm([parameter, skipped, alone], 2.5, { backend }), 5);
  const factor = 2.5 / (5 + 1e-6);
  assertEquals(parameter, { data: array(7, 7), grad: array(3 * Math.fround(factor), 0) });
  assertEquals([...alone], [0, -4 * factor]);
});

testOnBackends("a norm within the limit leaves every bit", (backend) => {
  for (const [limit, norm] of [[6, 5], [Infinity, 5]]) {
    const grad = array(3, 4);
    assertEquals([clipGradNorm([grad], limit, { backend }), grad], [norm, array(3, 4)]);
  }
  assertEquals(clipGradNorm([], 1, { backend }), 0);
  assertEquals(clipGradNorm([array()], 1, { backend }), 0);
});

testOnBackends("a norm that is not finite acts as torch's, or throws if asked", (backend) => {
  for (
    const [values, norm, after] of [
      [[1, Infinity], Infinity, [0, NaN]],
      [[1, NaN], NaN, [NaN, NaN]],
    ]
  ) {
    const grad = array(...values as number[]);
    const options = { backend, errorIfNonfinite: true };
    assertThrows(() => clipGradNorm([grad], 1, options), Error, `must be finite: it is ${norm}`);
    assertEquals([...grad], values);
    assertEquals(clipGradNorm([grad], 1, { backend }), norm);
    assertEquals([...grad], after);
  }
});

testOnBackends("the norm of large arrays is that of float64 sums", (backend) => {
  const grad = new Float32Array(1_000_003).fill(0.1);
  const norm = clipGradNorm([grad], Infinity, { backend });
  const expected = Math.sqrt(1_000_003) * Math.fround(0.1);
  assertEquals(Math.abs(norm / expected - 1) < 1e-12, true, `${norm}, not ${expected}`);
});

testOnBackends("what cannot be clipped is refused, and nothing has changed", (backend) => {
  const memory = array(1, 2, 3);
  const wrong: [unknown, unknown, typeof TypeError | typeof RangeError, string][] = [
    [3, 1, TypeError, "params as it must be iterable: current value is 3"],
    [[{}], 1, TypeError, "gradient 0 as it must be a Float32Array"],
    [[{ grad: [1] }], 1, TypeError, "grad of parameter 0 as it must be a Float32Array"],
    [[memory].values().drop(1), 1, TypeError, "params as an iterator must yield"],
    [
      (function* () {})(),
      1,
      TypeError,
      "it yields nothing, perhaps because it has been read before",
    ],
    [[memory], -1, RangeError, "maxNorm as it must be >= 0: current value is -1"],
    [[memory], NaN, RangeError, "maxNorm as it must be >= 0"],
    [[memory], "1", TypeError, "maxNorm as it must be a number"],
    [[memory, memory], 1, RangeError, "gradient 0 and gradient 1 as they must not share memory"],
    [[memory, memory.subarray(2)], 1, RangeError, "must not share memory"],
  ];
  for (const [params, maxNorm, kind, text] of wrong) {
    const clip = () => clipGradNorm(params as Params, maxNorm as number, { backend });
    assertThrows(clip, kind, text);
    assertEquals(memory, array(1, 2, 3));
  }
  const types: [unknown, typeof TypeError | typeof RangeError, string][] = [
    [3, RangeError, "normType as it must be 1, 2 or Infinity: current value is 3"],
    [NaN, RangeError, "normType as it must be 1, 2 or Infinity"],
    ["inf", TypeError, 'normType as it must be a number: current value is "inf"'],
  ];
  for (const [normType, kind, text] of types) {
    const options = { backend, normType: normType as number };
    assertThrows(() => clipGradNorm([memory], 1, options), kind, text);
  }
  assertEquals(memory, array(1, 2, 3));
});

testOnBackends("without a limit nothing is clipped, be the norm infinite or NaN", (backend) => {
  for (const [value, norm] of [[Infinity, Infinity], [NaN, NaN], [3, 3]]) {
    const w = { data: Float32Array.of(1, 2), grad: Float32Array.of(0, value) };
    assertEquals(clipGradNorm([w], Infinity, { backend }), norm);
    assertEquals(w.grad, Float32Array.of(0, value));
    const optimizer = new SGD([w], { lr: 1, backend });
    optimizer.step({ maxNorm: Infinity, checkFinite: false });
    assertEquals(w.data, Float32Array.of(1, 2 - value));
  }
});

testOnBackends(
  "no gradients have the norm 0, unless it is an iterator that has none",
  (backend) => {
    const options = { backend };
    const w = { data: array(1), grad: null };
    for (const params of [[], new Set<FloatArray>(), [w], [w].values()]) {
      assertEquals(clipGradNorm(params, 1, options), 0);
    }
    const grads = [array(3, 4)];
    const iterator = grads.values();
    assertEquals([...iterator], grads);
    assertThrows(() => clipGradNorm(iterator, 1, options), TypeError, "pass an array");
    assertEquals(clipGradNorm(grads.values(), 1, options), 5);
  },
);

testOnBackends("norms of each type have the same bits in every type of array", (backend) => {
  const values = Float64Array.from({ length: 4400 }, (_, i) => (i % 17 - 8) * 2 ** -(i % 5));
  const magnitudes = values.map(Math.abs);
  const expected = new Map([
    [1, magnitudes.reduce((a, b) => a + b)], // exact, in any order
    [2, Math.sqrt(magnitudes.reduce((a, b) => a + b * b, 0))],
    [Infinity, 8],
  ]);
  const half = Float16Array.from(values);
  const arrays = [values, Float32Array.from(values), half, BFloat16Array.from(values)];
  for (const length of [10, 63, 64, 4096, 4400]) {
    for (const [normType, whole] of expected) {
      const norms = arrays.map((grad) =>
        clipGradNorm([grad.subarray(0, length)], Infinity, { normType, backend })
      );
      assertEquals(new Set(norms).size, 1, `${normType} of ${length}: ${norms}`);
      if (length === 4400) assertEquals(norms[0], whole);
    }
  }
});

testOnBackends(
  "sums of magnitudes that overflow are infinite, and the largest is not",
  (backend) => {
    for (const length of [3, 100]) {
      const grad = new Float64Array(length).fill(1.5e308);
      for (const [normType, norm] of [[1, Infinity], [2, Infinity], [Infinity, 1.5e308]]) {
        assertEquals(clipGradNorm([grad], Infinity, { normType, backend }), norm);
        const optimizer = new SGD([{ data: new Float64Array(length), grad }], { lr: 1, backend });
        optimizer.step({ maxNorm: Infinity, normType });
        assertEquals(optimizer.lastStep!.gradNorm, norm);
        assertEquals(optimizer.lastStep!.skipped, norm === Infinity);
      }
    }
  },
);

testOnBackends("the norm of a sparse gradient is that of the sums of its rows", (backend) => {
  const sparse = () => ({
    indices: new Int32Array([2, 0, 2]),
    values: array(1, 2, 7, 0, 2, 2),
    shape: [3, 2] as const,
  });
  const norms = [[1, 3 + 4 + 7], [2, Math.hypot(3, 4, 7)], [Infinity, 7]];
  for (const [normType, norm] of norms) {
    const matrix = { data: new Float32Array(6), grad: sparse() };
    assertEquals(clipGradNorm([matrix], 100, { normType, backend }), norm);
    assertEquals(matrix.grad, sparse(), "nothing is to be clipped");
    assertEquals(clipGradNorm([matrix, sparse()], norm / 2, { normType, backend }) >= norm, true);
    const { indices, values } = matrix.grad;
    assertEquals([...indices], [2, 0, 2]);
    assertEquals([...values.subarray(4)], [0, 0], "its row is the first entry now");
    assert(Math.abs(values[0] / values[2] - 3 / 7) < 1e-6, "a row is summed before it is clipped");
  }
});
