/** Schedules that begin with a smaller learning rate. */

import { checkNumber, checkOptions, COUNT, POSITIVE_SHARE, SHARE } from "../core/validate.ts";
import { fromRecurrence } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

/**
 * The options of `constantLR`.
 *
 * @category Schedules
 */
export interface ConstantLROptions {
  /** What the learning rate is multiplied by during the first steps, > 0 and <= 1. @default {1 / 3} */
  factor?: number;
  /** Steps until the full learning rate, >= 1. @default {5} */
  totalIters?: number;
}

/**
 * The options of `linearLR`.
 *
 * @category Schedules
 */
export interface LinearLROptions {
  /** What the learning rate is multiplied by at step 0, >= 0 and <= 1. @default {1 / 3} */
  startFactor?: number;
  /** What it is multiplied by from step `totalIters` on, >= 0 and <= 1. @default {1} */
  endFactor?: number;
  /** Steps from the first factor to the last, >= 1. @default {5} */
  totalIters?: number;
}

/**
 * Multiplies the learning rate by `factor` for the first `totalIters` steps: torch's `ConstantLR`.
 *
 * @throws {TypeError} If an option is not a number or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { constantLR } from "@descent/sgd/schedules";
 *
 * const schedule = constantLR({ factor: 0.5, totalIters: 10 });
 * console.log(schedule(9, 1), schedule(10, 1)); // 0.5 1
 * ```
 *
 * @category Schedules
 */
export function constantLR(options: ConstantLROptions = {}): Schedule {
  checkOptions(options, ["factor", "totalIters"]);
  const { factor = 1 / 3, totalIters = 5 } = options;
  checkNumber("factor", factor, POSITIVE_SHARE);
  checkNumber("totalIters", totalIters, COUNT);
  return fromRecurrence({
    first: (lr) => lr * factor,
    next: (lr, step) => step === totalIters ? lr * (1 / factor) : lr,
    nextChange: (step) => step < totalIters ? totalIters : Infinity,
  });
}

/**
 * Moves the learning rate from `startFactor` to `endFactor` of itself, in equal parts over
 * `totalIters` steps: torch's `LinearLR`.
 *
 * Where torch's rounding ends a hair below zero, with `endFactor` 0, this is 0.
 *
 * With `startFactor` 0, which torch refuses, no factor leads on from a learning rate of 0. Up to
 * `totalIters` it is then torch's closed form,
 * `baseLr * (startFactor + (endFactor - startFactor) * step / totalIters)`, whatever it was before.
 *
 * @throws {TypeError} If an option is not a number or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { linearLR } from "@descent/sgd/schedules";
 *
 * const schedule = linearLR({ startFactor: 0.5, totalIters: 4 });
 * console.log(schedule(0, 1), schedule(2, 1), schedule(4, 1)); // 0.5 0.75 1
 * ```
 *
 * @category Schedules
 */
export function linearLR(options: LinearLROptions = {}): Schedule {
  checkOptions(options, ["startFactor", "endFactor", "totalIters"]);
  const { startFactor = 1 / 3, endFactor = 1, totalIters = 5 } = options;
  checkNumber("startFactor", startFactor, SHARE);
  checkNumber("endFactor", endFactor, SHARE);
  checkNumber("totalIters", totalIters, COUNT);
  if (startFactor === 0) return fromZero(endFactor, totalIters);
  const slope = endFactor - startFactor;
  return fromRecurrence({
    first: (lr) => lr * startFactor,
    next(lr, step) {
      if (step > totalIters) return lr;
      return Math.max(0, lr * (1 + slope / (totalIters * startFactor + (step - 1) * slope)));
    },
    nextChange: (step) => step < totalIters ? step + 1 : Infinity,
  });
}

function fromZero(endFactor: number, totalIters: number): Schedule {
  return fromRecurrence({
    first: () => 0,
    next: (lr, step, baseLr) => step > totalIters ? lr : baseLr * (endFactor * step / totalIters),
    nextChange: (step) => step < totalIters ? step + 1 : Infinity,
    lastReset: (step) => Math.min(step, totalIters),
  });
}
