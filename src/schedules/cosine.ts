/** Schedules along a cosine. */

import { checkNumber, checkOptions, COUNT, NOT_NEGATIVE } from "../core/validate.ts";
import { fromFunction, fromRecurrence } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

/**
 * The options of `cosineAnnealingLR`.
 *
 * @category Schedules
 */
export interface CosineAnnealingLROptions {
  /** Steps from the base learning rate down to `etaMin`, >= 1; as many lead up again. */
  tMax: number;
  /** The lowest learning rate, >= 0. @default {0} */
  etaMin?: number;
}

/**
 * The options of `cosineAnnealingWarmRestarts`.
 *
 * @category Schedules
 */
export interface CosineAnnealingWarmRestartsOptions {
  /** Steps until the first restart, >= 1. */
  t0: number;
  /** What each restart multiplies the time until the next one by: whole and >= 1. @default {1} */
  tMult?: number;
  /** The lowest learning rate, >= 0. @default {0} */
  etaMin?: number;
}

/**
 * Moves the learning rate along a cosine, down to `etaMin` at step `tMax` and up again:
 * `etaMin + (baseLr - etaMin) * (1 + cos(pi * step / tMax)) / 2`, torch's `CosineAnnealingLR`.
 *
 * Where torch's rounding ends a hair below zero, as with a base of 0, this is 0.
 *
 * @throws {TypeError} If an option is not a number or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { cosineAnnealingLR } from "@descent/sgd/schedules";
 *
 * const schedule = cosineAnnealingLR({ tMax: 100 });
 * console.log(schedule(0, 1), schedule(50, 1).toFixed(6), schedule(100, 1)); // 1 0.500000 0
 * ```
 *
 * @category Schedules
 */
export function cosineAnnealingLR(options: CosineAnnealingLROptions): Schedule {
  checkOptions(options, ["tMax", "etaMin"]);
  const { tMax, etaMin = 0 } = options;
  checkNumber("tMax", tMax, COUNT);
  checkNumber("etaMin", etaMin, NOT_NEGATIVE);
  const height = (step: number) => 1 + Math.cos(Math.PI * step / tMax);
  const residue = residueOf(etaMin, tMax);
  return fromRecurrence({
    first: (lr) => lr,
    next(lr, step, baseLr) {
      // At the lowest point the ratio to the next step would divide by zero.
      const isLowest = (step - 1 - tMax) % (2 * tMax) === 0;
      const next = isLowest
        ? lr + (baseLr - etaMin) * (1 - Math.cos(Math.PI / tMax)) / 2
        : height(step) / height(step - 1) * (lr - etaMin) + etaMin;
      return next < 0 && next >= -residue ? 0 : next;
    },
    restart: (baseLr) => between(etaMin, baseLr, 0, tMax),
    lastReset: (step) => lastLowest(step, tMax, height),
  });
}

/**
 * How far below zero rounding takes a cosine whose other end is 0. What is rounded at the lowest point
 * grows with the square of `tMax` up to the highest.
 */
function residueOf(etaMin: number, tMax: number): number {
  return etaMin * Math.min(8 * Number.EPSILON * (tMax ** 2 + 2), 1e-3);
}

/**
 * The last step up to `step` at which the cosine is at its lowest point exactly, where `etaMin` is the
 * learning rate whatever it was before; 0 if there is none. Up to these limits the angle is so exact
 * that every lowest point before it has height 0 too, and no other point has.
 */
function lastLowest(step: number, tMax: number, height: (step: number) => number): number {
  if (step < tMax || tMax > 1e6) return 0;
  const cycle = Math.min(Math.floor((step - tMax) / (2 * tMax)), 6e6);
  const lowest = (2 * cycle + 1) * tMax;
  return height(lowest) === 0 ? lowest : 0;
}

/**
 * Moves the learning rate along a cosine from its base towards `etaMin`, and starts again after `t0`
 * steps, then after `t0 * tMult`, and so on: torch's `CosineAnnealingWarmRestarts`.
 *
 * @throws {TypeError} If an option is not a number or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { cosineAnnealingWarmRestarts } from "@descent/sgd/schedules";
 *
 * const schedule = cosineAnnealingWarmRestarts({ t0: 10, tMult: 2 });
 * console.log(schedule(0, 1), schedule(5, 1).toFixed(6), schedule(10, 1), schedule(30, 1)); // 1 0.500000 1 1
 * ```
 *
 * @category Schedules
 */
export function cosineAnnealingWarmRestarts(
  options: CosineAnnealingWarmRestartsOptions,
): Schedule {
  checkOptions(options, ["t0", "tMult", "etaMin"]);
  const { t0, tMult = 1, etaMin = 0 } = options;
  checkNumber("t0", t0, COUNT);
  checkNumber("tMult", tMult, COUNT);
  checkNumber("etaMin", etaMin, NOT_NEGATIVE);
  return fromFunction((step, baseLr) => {
    const { since, length } = cycleAt(step, t0, tMult);
    return between(etaMin, baseLr, since, length);
  });
}

/** Torch's closed form, in its order. */
function between(etaMin: number, baseLr: number, step: number, length: number): number {
  return etaMin + (baseLr - etaMin) * (1 + Math.cos(Math.PI * step / length)) / 2;
}

/** The steps since the last restart, and those between it and the next. */
function cycleAt(step: number, t0: number, tMult: number): { since: number; length: number } {
  if (tMult === 1) return { since: step % t0, length: t0 };
  let [since, length] = [step, t0];
  for (; since >= length; length *= tMult) since -= length;
  return { since, length };
}
