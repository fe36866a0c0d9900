/** The rule's arithmetic on numbers of each dtype. */

import { roundToBFloat16 } from "../../core/bfloat16_bits.ts";
import type { Arithmetic } from "../../core/rule.ts";

const sign = (a: number) => (a > 0 ? 1 : 0) - (a < 0 ? 1 : 0);

/** The largest float32. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/** Halfway from the largest float32 to 2^128, which would be the next one. */
const HALFWAY_TO_OVERFLOW = LARGEST + 2 ** 103;

/**
 * `a * b + c` rounded once to float32, where its sum in float64 lies halfway between two float32: the
 * error of that sum says on which side of it the exact one is.
 */
function roundHalfway(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  const nearest = Math.fround(sum);
  const rest = sum - product;
  const error = (product - (sum - rest)) + (c - rest);
  if (error === 0) return nearest;
  if (!Number.isFinite(nearest)) {
    const isLess = Math.abs(sum) === HALFWAY_TO_OVERFLOW && error > 0 !== sum > 0;
    return isLess ? Math.sign(sum) * LARGEST : nearest;
  }
  const other = sum - nearest + sum;
  return error > 0 === other > nearest ? other : nearest;
}

/**
 * float32, rounded once like a fused operation. The product is exact in float64. The sum is rounded
 * there and then to float32, which differs from one rounding only if the first one ends halfway
 * between two float32: then what is as far from it on its other side is a float32, too. A sum of two
 * float32 needs no such test, which momentum without dampening would often meet.
 *
 * V8 compiles these well as `Math.fround` stands in them by name, and as every result is a number to it
 * before `roundHalfway` has ever run.
 */
export const FLOAT32: Arithmetic<number> = {
  mul: (a, b) => Math.fround(a * b),
  fma: (a, b, c) => {
    if (a === 1) return Math.fround(b + c);
    const sum = a * b + c;
    const nearest = Math.fround(sum);
    const other = sum - nearest + sum;
    if (Math.fround(other) === other && other !== nearest) return +roundHalfway(a, b, c);
    return nearest;
  },
  sign,
};

/** float64. The product is rounded. */
export const FLOAT64: Arithmetic<number> = {
  mul: (a, b) => a * b,
  fma: (a, b, c) => a * b + c,
  sign,
};

/**
 * float16. Every operation rounds to float32 and then to the type, and `fma` takes its factor, the
 * first operand, in the type: as torch's loops do. So does bfloat16.
 */
export const FLOAT16: Arithmetic<number> = {
  mul: (a, b) => Math.f16round(Math.fround(a * b)),
  fma: (a, b, c) => Math.f16round(Math.fround(Math.f16round(a) * b + c)),
  sign,
};

/** bfloat16. */
export const BFLOAT16: Arithmetic<number> = {
  mul: (a, b) => roundToBFloat16(Math.fround(a * b)),
  fma: (a, b, c) => roundToBFloat16(Math.fround(roundToBFloat16(a) * b + c)),
  sign,
};
