/** The orders of a norm: what it is made of, and how norms of parts make one. */

import type { NormType } from "./device.ts";
import type { Limit } from "./validate.ts";

/** The limit of the option `normType`. */
export const NORM_TYPES: Limit = {
  text: "1, 2 or Infinity",
  holds: (value) => value === 1 || value === 2 || value === Infinity,
};

/** The number of a norm at the boundary of the native library: 0 stands for infinity. */
export function orderOf(type: NormType): number {
  return type === Infinity ? 0 : type;
}

/** Puts the measures of two parts together: sums of magnitudes or of squares, or largest magnitudes. */
export function joinMeasures(type: NormType, a: number, b: number): number {
  return type === Infinity ? Math.max(a, b) : a + b; // Math.max is NaN if one of them is
}

/** The norm that a measure stands for. */
export function normOf(type: NormType, measure: number): number {
  return type === 2 ? Math.sqrt(measure) : measure;
}

/** What a norm is made of. */
export function measureOf(type: NormType, norm: number): number {
  return type === 2 ? norm * norm : norm;
}
