/** The options of a `WeightAverage`, and the weights of updates that follow from them. */

import type { BackendName } from "../core/hyperparameters.ts";
import { checkBoolean, checkNumber, checkOptions, SHARE, wrongType } from "../core/validate.ts";
import { COPY } from "../plan/averages.ts";
import type { AverageUpdate } from "../plan/averages.ts";

/**
 * The options of a `WeightAverage`.
 *
 * @category Optimizer
 */
export interface WeightAverageOptions {
  /**
   * The share of the average that an update keeps, >= 0 and <= 1: an exponential moving average.
   * `"mean"`: all updates count the same, as in stochastic weight averaging.
   */
  decay: number | "mean";
  /**
   * Whether the first values count no more than an exponential average gives them: the weight of a value
   * is `(1 - decay) / (1 - decay ** n)` at the n-th update, instead of torch's `1 - decay`. Not for
   * `"mean"`.
   * @default {false}
   */
  biasCorrection?: boolean;
  /** What computes `update`; a step computes by the backend of its optimizer. @default {"auto"} */
  backend?: "auto" | BackendName;
}

const OPTIONS: readonly (keyof WeightAverageOptions)[] = ["decay", "biasCorrection", "backend"];

/** The options that say how updates count, checked. */
export interface AverageOptions {
  readonly decay: number | "mean";
  /** Whether the weights correct the bias towards the first values. */
  readonly isCorrected: boolean;
}

/**
 * Checks the options of an average.
 *
 * @throws {TypeError} If one does not exist or is of another type, or they do not go together.
 * @throws {RangeError} If decay is out of range.
 */
export function readAverageOptions(options: WeightAverageOptions): AverageOptions {
  checkOptions(options, OPTIONS);
  const { decay, biasCorrection = false } = options;
  if (decay !== "mean") checkDecay(decay);
  checkBoolean("biasCorrection", biasCorrection);
  if (decay === "mean" && biasCorrection) {
    throw wrongType("set biasCorrection", 'it must be false with decay "mean"', biasCorrection);
  }
  return { decay, isCorrected: biasCorrection };
}

/** What the n-th update makes of an average; the first one copies. */
export function updateAt(n: number, { decay, isCorrected }: AverageOptions): AverageUpdate {
  if (n === 1) return COPY;
  if (decay === "mean") return { weight: 0, divisor: n };
  return { weight: isCorrected ? correctedWeight(decay, n) : 1 - decay, divisor: 0 };
}

/** The weight of the n-th value among all so far, if each counts `decay` times as much as the next. */
function correctedWeight(decay: number, n: number): number {
  return decay === 1 ? 1 / n : (1 - decay) / (1 - decay ** n);
}

function checkDecay(decay: unknown): asserts decay is number {
  if (typeof decay !== "number") {
    throw wrongType("set decay", 'it must be a number or "mean"', decay);
  }
  checkNumber("decay", decay, SHARE);
}
