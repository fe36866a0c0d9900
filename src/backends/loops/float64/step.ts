// A copy of src/backends/loops/float32/step.ts, made by `deno task loops`.

/** A step's loops over elements of float64: gradients are prepared, then the rule is applied. */

import type { Factors, Lines } from "../../../rule.ts";
import { FLOAT64 as a } from "../../arithmetic.ts";
import type { Preparation } from "../../preparation.ts";
import { descend, gradient, velocity } from "./rule.ts";

/** Steps one tensor. Its momentum buffer begins at element `at` of an array. */
export function step(
  lines: Lines,
  f: Factors<number>,
  data: Float64Array,
  grad: Float64Array,
  buffer: Float64Array | null,
  at: number,
): void {
  const buffered = lines.momentum !== "none";
  for (let i = 0; i < data.length; i++) {
    const p = data[i];
    const g = gradient(a, f, lines, p, grad[i]);
    let b = g;
    if (buffered) buffer![at + i] = b = velocity(a, f, lines, g, buffer![at + i]);
    data[i] = descend(a, f, lines, p, g, b);
  }
}

/** Writes prepared gradients to an array of the same length, with each product rounded. */
export function prepare(
  grad: Float64Array,
  out: Float64Array,
  { inverseScale, coefficient, maxValue }: Preparation,
): void {
  if (inverseScale === 1) out.set(grad);
  else for (let i = 0; i < grad.length; i++) out[i] = a.mul(grad[i], inverseScale);
  if (coefficient !== 1) {
    for (let i = 0; i < out.length; i++) {
      out[i] = a.mul(out[i], coefficient);
    }
  }
  if (maxValue < Infinity) clamp(out, a.mul(maxValue, 1)); // rounded to what the values are
}

/** NaN is neither larger nor smaller, and stays. */
function clamp(values: Float64Array, limit: number): void {
  for (let i = 0; i < values.length; i++) {
    if (values[i] > limit) values[i] = limit;
    else if (values[i] < -limit) values[i] = -limit;
  }
}
