/** The rule's arithmetic on numbers. */

import { isSixteenBit } from "../parameter.ts";
import type { Dtype } from "../parameter.ts";
import type { Arithmetic } from "../rule.ts";

const arithmetics = new Map<Dtype, Arithmetic<number>>();

/**
 * The arithmetic of a dtype. In a 16-bit type every operation rounds to float32 and then to the type,
 * and `fma` takes its factor, the first operand, in the type: as torch's loops do.
 *
 * `fma` takes the product in float64, where that of two float32 is exact: for float32 it is fused
 * but for double rounding (about 1 result in 2^29), for float64 the product is rounded.
 */
export function arithmeticOf(dtype: Dtype): Arithmetic<number> {
  const { round } = dtype;
  let arithmetic = arithmetics.get(dtype);
  if (arithmetic === undefined) {
    const sign = (a: number) => (a > 0 ? 1 : 0) - (a < 0 ? 1 : 0);
    const wide: Arithmetic<number> = {
      mul: (a, b) => round(a * b),
      fma: (a, b, c) => round(a * b + c),
      sign,
    };
    const narrow: Arithmetic<number> = {
      mul: (a, b) => round(Math.fround(a * b)),
      fma: (a, b, c) => round(Math.fround(round(a) * b + c)),
      sign,
    };
    arithmetic = isSixteenBit(dtype) ? narrow : wide;
    arithmetics.set(dtype, arithmetic);
  }
  return arithmetic;
}
