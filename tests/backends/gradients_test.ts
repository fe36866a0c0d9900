/** Norms and clipping outside a step: the same bits on `cpu`, on `js`, and whatever the length is. */

import { assertEquals } from "@std/assert";
import { BFloat16Array, clipGradNorm, SGD } from "@descent/sgd";
import type { BackendName, HostArray, Parameter } from "@descent/sgd";
import { gradientLoopsOf } from "../../src/backends/js/loops/gradient_loops.ts";
import { computeTypeOf } from "../../src/backends/js/preparation.ts";
import { load } from "../../src/core/convert.ts";
import { dtypeOf, isSixteenBit } from "../../src/core/dtype.ts";
import { testOnBackends } from "../support/backends.ts";

const DTYPES = [
  new Float32Array(0),
  new Float64Array(0),
  new Float16Array(0),
  new BFloat16Array(0),
].map((array) => dtypeOf(array, "an array"));

/** Within a plain loop; at the ends of vectors, of 16 sums, of blocks of 4096 and of tiles. */
const LENGTHS = [1, 63, 64, 65, 79, 4096, 4097, 8192, 12_289, 20_011];

/** Elements of all magnitudes that a norm holds, which begin a little after their buffer does. */
function gradientOf(dtype: typeof DTYPES[number], length: number): HostArray {
  const array = dtype.view(new ArrayBuffer((length + 5) * dtype.bytes), dtype.bytes, length);
  const values = Float64Array.from(
    { length },
    (_, i) => Math.sin(i * 1.7) * 2 ** (i % 11 - 5 - i % 37 / 4),
  );
  array.set(dtype.name === "bfloat16" ? BFloat16Array.from(values) : values);
  return array;
}

/** The norm as the loop over elements adds it up, one block of 4096 after another. */
function normOf(grad: HostArray, normType = 2): number {
  const dtype = dtypeOf(grad, "the gradient");
  const wide = computeTypeOf(dtype).zeros(grad.length);
  if (isSixteenBit(dtype)) load(grad, wide as Float32Array);
  else wide.set(grad);
  const { findLargest, sumMagnitudes, sumSquares } = gradientLoopsOf(computeTypeOf(dtype));
  const measure = normType === 2 ? sumSquares : normType === 1 ? sumMagnitudes : findLargest;
  let all = 0;
  for (let from = 0; from < wide.length; from += 4096) {
    const own = measure(wide.subarray(from, from + 4096));
    all = normType === Infinity ? Math.max(all, own) : all + own;
  }
  return normType === 2 ? Math.sqrt(all) : all;
}

for (const dtype of DTYPES) {
  testOnBackends(
    `a norm is summed in one order, and products are rounded once: ${dtype.name}`,
    (backend) => {
      for (const length of LENGTHS) {
        const grad = gradientOf(dtype, length);
        const expected = normOf(grad);
        const factor = computeTypeOf(dtype).round(0.5 / (expected + 1e-6));
        const before = Array.from(valuesOf(grad));
        for (const normType of [1, Infinity]) {
          const norm = clipGradNorm([grad], Infinity, { normType, backend });
          assertEquals(norm, normOf(grad, normType), `${normType} of ${length}`);
        }
        assertEquals(clipGradNorm([grad], 0.5, { backend }), expected, `${length}`);
        const after = before.map((value) =>
          dtype.round(computeTypeOf(dtype).round(value * factor))
        );
        const clipped = expected > 0.5 ? after : before;
        assertEquals(Array.from(valuesOf(grad)), clipped, `${length}`);
        assertEquals(new Uint8Array(grad.buffer, 0, dtype.bytes).every((byte) => byte === 0), true);
      }
    },
  );

  testOnBackends(`an element that is not finite is found anywhere: ${dtype.name}`, (backend) => {
    const length = 12_289;
    for (const at of [0, 63, 4095, 4096, 8191, 8192, length - 1]) {
      for (const value of [Infinity, -Infinity, NaN]) {
        const grad = gradientOf(dtype, length);
        grad.set(dtype.name === "bfloat16" ? BFloat16Array.of(value) : [value], at);
        for (const normType of [1, 2, Infinity]) {
          const norm = clipGradNorm([grad], Infinity, { normType, backend });
          assertEquals(norm, Number.isNaN(value) ? NaN : Infinity, `${value} at ${at}`);
        }
      }
    }
  });
}

testOnBackends("squares of float64 may overflow where every element is finite", (backend) => {
  const parameter = { data: new Float64Array(100), grad: new Float64Array(100).fill(1e200) };
  assertEquals(stepChecked(parameter, backend), [false, Infinity]);
  parameter.grad[99] = Infinity;
  assertEquals(stepChecked(parameter, backend), [true, Infinity]);
});

function stepChecked(parameter: Parameter, backend: BackendName): [boolean, number | null] {
  const optimizer = new SGD([parameter], { lr: 0, backend });
  optimizer.step({ checkFinite: true });
  const { skipped, gradNorm } = optimizer.lastStep!;
  return [skipped, gradNorm];
}

function valuesOf(array: HostArray): ArrayLike<number> {
  return array instanceof BFloat16Array ? array.toFloat32Array() : array;
}
