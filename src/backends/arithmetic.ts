/** The rule's arithmetic on numbers. */

import type { Dtype } from "../parameter.ts";
import type { Arithmetic } from "../rule.ts";

const arithmetics = new Map<Dtype, Arithmetic<number>>();

/**
 * `fma` takes the product in float64, where that of two float32 is exact: for float32 it is fused
 * but for double rounding (about 1 result in 2^29), for float64 the product is rounded.
 */
export function arithmeticOf(dtype: Dtype): Arithmetic<number> {
  const { round } = dtype;
  let arithmetic = arithmetics.get(dtype);
  if (arithmetic === undefined) {
    arithmetic = {
      mul: (a, b) => round(a * b),
      fma: (a, b, c) => round(a * b + c),
      sign: (a) => (a > 0 ? 1 : 0) - (a < 0 ? 1 : 0),
    };
    arithmetics.set(dtype, arithmetic);
  }
  return arithmetic;
}
