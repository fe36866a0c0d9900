/** `clipGradNorm` beyond torch's numbers, which `fused_test.ts` holds it to. */

import { assertEquals, assertThrows } from "@std/assert";
import { clipGradNorm, SGD } from "@descent/sgd";
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
  const grad = { indices: new Int32Array([0]), values: array(1), shape: [1, 1] };
  const wrong: [unknown, unknown, typeof TypeError | typeof RangeError, string][] = [
    [3, 1, TypeError, "params as it must be iterable: current value is 3"],
    [[{}], 1, TypeError, "gradient 0 as it must be a Float32Array"],
    [[{ grad: [1] }], 1, TypeError, "grad of parameter 0 as it must be a Float32Array"],
    [
      [{ name: "e", grad }],
      1,
      TypeError,
      'grad of parameter 0 ("e") as it must be an array: it is sparse',
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
  const options = { backend, normType: 2 };
  assertThrows(() => clipGradNorm([memory], 1, options), TypeError, 'option "normType"');
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
