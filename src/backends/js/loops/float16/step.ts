// A copy of src/backends/js/loops/float32/step.ts, made by `deno task loops`.

/** A step's loops over elements of float16: gradients are prepared, then the rule is applied. */

import type { Factors, Lines } from "../../../../core/rule.ts";
import { FLOAT16 as a } from "../../arithmetic.ts";
import type { Preparation } from "../../preparation.ts";
import { descend, gradient, shrink, velocity } from "./rule.ts";

/** Steps one tensor. Its momentum buffer begins at element `at` of an array. */
export function step(
  lines: Lines,
  f: Factors<number>,
  data: Float32Array,
  grad: Float32Array,
  buffer: Float32Array | null,
  at: number,
): void {
  const buffered = lines.momentum !== "none";
  if (lines.decay === "decoupled") {
    for (let i = 0; i < data.length; i++) data[i] = shrink(a, f, lines, data[i]);
  }
  for (let i = 0; i < data.length; i++) {
    const p = data[i];
    const g = gradient(a, f, lines, p, grad[i]);
    let b = g;
    if (buffered) buffer![at + i] = b = velocity(a, f, lines, g, buffer![at + i]);
    data[i] = descend(a, f, lines, p, g, b);
  }
}

/** Writes prepared gradients to an array that is at least as long, with each product rounded. */
export function prepare(
  grad: Float32Array,
  out: Float32Array,
  { inverseScale, coefficient, maxValue }: Preparation,
): void {
  const limit = a.mul(maxValue, 1);
  for (let i = 0; i < grad.length; i++) {
    const value = a.mul(a.mul(grad[i], inverseScale), coefficient);
    out[i] = value > limit ? limit : value < -limit ? -limit : value; // NaN stays
  }
}
