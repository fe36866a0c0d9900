/** The rule's arithmetic on numbers of each dtype. */

import { roundToBFloat16 } from "../../core/bfloat16.ts";
import type { Arithmetic } from "../../core/rule.ts";

const sign = (a: number) => (a > 0 ? 1 : 0) - (a < 0 ? 1 : 0);

/**
 * float32. The product is taken in float64, where it is exact, so `fma` is fused except for double
 * rounding: about 1 result in 2^29. V8 compiles these well as `Math.fround` stands in them by name.
 */
export const FLOAT32: Arithmetic<number> = {
  mul: (a, b) => Math.fround(a * b),
  fma: (a, b, c) => Math.fround(a * b + c),
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
