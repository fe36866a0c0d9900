/** The rule's arithmetic on numbers. */

import { isSixteenBit } from "../parameter.ts";
import type { Dtype } from "../parameter.ts";
import type { Arithmetic } from "../rule.ts";

const sign = (a: number) => (a > 0 ? 1 : 0) - (a < 0 ? 1 : 0);

/**
 * float32. The product is taken in float64, where it is exact, so `fma` is fused but for double
 * rounding: about 1 result in 2^29. V8 compiles these well as `Math.fround` stands in them by name.
 */
const FLOAT32: Arithmetic<number> = {
  mul: (a, b) => Math.fround(a * b),
  fma: (a, b, c) => Math.fround(a * b + c),
  sign,
};

/** float64. The product is rounded. */
const FLOAT64: Arithmetic<number> = {
  mul: (a, b) => a * b,
  fma: (a, b, c) => a * b + c,
  sign,
};

const sixteenBit = new Map<Dtype, Arithmetic<number>>();

/**
 * The arithmetic of a dtype. In a 16-bit type every operation rounds to float32 and then to the type,
 * and `fma` takes its factor, the first operand, in the type: as torch's loops do.
 */
export function arithmeticOf(dtype: Dtype): Arithmetic<number> {
  if (!isSixteenBit(dtype)) return dtype.name === "float32" ? FLOAT32 : FLOAT64;
  const { round } = dtype;
  let arithmetic = sixteenBit.get(dtype);
  if (arithmetic === undefined) {
    arithmetic = {
      mul: (a, b) => round(Math.fround(a * b)),
      fma: (a, b, c) => round(Math.fround(round(a) * b + c)),
      sign,
    };
    sixteenBit.set(dtype, arithmetic);
  }
  return arithmetic;
}
