/** Chooses the loops over gradients outside a step; `loops.ts` says why each dtype has its own text. */

import type { WideDtype } from "../../../core/dtype.ts";
import type { FloatArray } from "../../../core/host_array.ts";
import * as gradients32 from "./float32/gradients.ts";
import * as gradients64 from "./float64/gradients.ts";

/** The loops over gradients of a dtype that is computed in as it is. */
export interface GradientLoops {
  /** Multiplies each element. */
  multiply(array: FloatArray, factor: number): void;
  /** The sum of a block's squares, in an order that no number of threads changes. */
  sumSquares(block: FloatArray): number;
  /** The sum of its magnitudes, in the same order. */
  sumMagnitudes(block: FloatArray): number;
  /** Its largest magnitude; NaN if an element is. */
  findLargest(block: FloatArray): number;
}

/** The loops of a dtype. */
export function gradientLoopsOf({ name }: WideDtype): GradientLoops {
  return (name === "float32" ? gradients32 : gradients64) as GradientLoops;
}
