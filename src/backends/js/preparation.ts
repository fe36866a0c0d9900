/** What a step does to gradients before they meet the rule, on the `js` backend. */

import { FLOAT32, isSixteenBit } from "../../core/dtype.ts";
import type { Dtype, WideDtype } from "../../core/dtype.ts";
import {
  CALL_FLAGS,
  COEFFICIENT,
  FLAG_ZERO,
  GROUP_ROW,
  INVERSE_SCALE,
  MAX_VALUE,
} from "../../plan/layout.ts";
import type { CallRow } from "../../plan/layout.ts";

/** What is done to the gradients of a group. Factors are rounded to the type computed in. */
export interface Preparation {
  readonly inverseScale: number;
  readonly coefficient: number;
  readonly maxValue: number;
  /** Whether none of these changes a value. */
  readonly isNeutral: boolean;
  /** Whether gradients are zeros afterwards. */
  readonly zero: boolean;
}

/** Reads what a call row, and the group table of a plan, say of a group. */
export function preparationOf(
  callRow: CallRow,
  { groupRows }: { readonly groupRows: Float64Array },
  group: number,
  dtype: Dtype,
): Preparation {
  return prepared(computeTypeOf(dtype), {
    inverseScale: callRow[INVERSE_SCALE],
    coefficient: groupRows[group * GROUP_ROW + COEFFICIENT],
    maxValue: callRow[MAX_VALUE],
    zero: (callRow[CALL_FLAGS] & FLAG_ZERO) !== 0,
  });
}

/** Rounds what is done to gradients to the type that they are computed with in. */
export function prepared(
  { round }: WideDtype,
  { inverseScale, coefficient, maxValue, zero }: Omit<Preparation, "isNeutral">,
): Preparation {
  return {
    inverseScale: round(inverseScale),
    coefficient: round(coefficient),
    maxValue: round(maxValue),
    isNeutral: inverseScale === 1 && coefficient === 1 && maxValue === Infinity,
    zero,
  };
}

/** The type that gradients are computed with in. */
export function computeTypeOf(dtype: Dtype): WideDtype {
  return isSixteenBit(dtype) ? FLOAT32 : dtype as WideDtype;
}
