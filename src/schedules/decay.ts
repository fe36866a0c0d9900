/** Schedules that multiply the learning rate by a factor: in steps, steadily, or down to zero. */

import {
  checkArray,
  checkNumber,
  checkOptions,
  COUNT,
  NOT_NEGATIVE,
  WHOLE,
} from "../core/validate.ts";
import { fromRecurrence, unlessFixed } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

/**
 * The options of `stepLR`.
 *
 * @category Schedules
 */
export interface StepLROptions {
  /** Steps between two decays, >= 1. */
  stepSize: number;
  /** What each decay multiplies by, >= 0. @default {0.1} */
  gamma?: number;
}

/**
 * The options of `multiStepLR`.
 *
 * @category Schedules
 */
export interface MultiStepLROptions {
  /** The steps at which it decays, in any order; one that is there twice decays twice. */
  milestones: readonly number[];
  /** What each decay multiplies by, >= 0. @default {0.1} */
  gamma?: number;
}

/**
 * The options of `exponentialLR`.
 *
 * @category Schedules
 */
export interface ExponentialLROptions {
  /** What every step multiplies by, >= 0. */
  gamma: number;
}

/**
 * The options of `polynomialLR`.
 *
 * @category Schedules
 */
export interface PolynomialLROptions {
  /** Steps until the learning rate is 0, >= 1. @default {5} */
  totalIters?: number;
  /** The power of the polynomial, >= 0. @default {1} */
  power?: number;
}

/**
 * Multiplies the learning rate by `gamma` every `stepSize` steps: torch's `StepLR`.
 *
 * @throws {TypeError} If an option is not a number or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { stepLR } from "@descent/sgd/schedules";
 *
 * const schedule = stepLR({ stepSize: 30, gamma: 0.5 });
 * console.log(schedule(29, 1), schedule(30, 1), schedule(60, 1)); // 1 0.5 0.25
 * ```
 *
 * @category Schedules
 */
export function stepLR(options: StepLROptions): Schedule {
  checkOptions(options, ["stepSize", "gamma"]);
  const { stepSize, gamma = 0.1 } = options;
  checkNumber("stepSize", stepSize, COUNT);
  checkNumber("gamma", gamma, NOT_NEGATIVE);
  return fromRecurrence({
    first: (lr) => lr,
    next: (lr, step) => step % stepSize === 0 ? lr * gamma : lr,
    nextChange: (step, lr) => unlessFixed(lr, gamma, (Math.floor(step / stepSize) + 1) * stepSize),
  });
}

/**
 * Multiplies the learning rate by `gamma` at each milestone: torch's `MultiStepLR`.
 *
 * @throws {TypeError} If an option is of another type or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { multiStepLR } from "@descent/sgd/schedules";
 *
 * const schedule = multiStepLR({ milestones: [30, 80], gamma: 0.5 });
 * console.log(schedule(29, 1), schedule(30, 1), schedule(80, 1)); // 1 0.5 0.25
 * ```
 *
 * @category Schedules
 */
export function multiStepLR(options: MultiStepLROptions): Schedule {
  checkOptions(options, ["milestones", "gamma"]);
  const { milestones, gamma = 0.1 } = options;
  checkNumber("gamma", gamma, NOT_NEGATIVE);
  const counts = new Map<number, number>();
  for (const step of checkMilestones(milestones)) counts.set(step, (counts.get(step) ?? 0) + 1);
  const decay = (lr: number, step: number) => lr * gamma ** (counts.get(step) ?? 0);
  const ascending = [...counts.keys()].sort((a, b) => a - b);
  return fromRecurrence({
    first: (lr) => decay(lr, 0),
    next: decay,
    nextChange: (step) => firstAfter(step, ascending),
  });
}

/** The first of ascending steps that comes after one; Infinity if none does. */
function firstAfter(step: number, ascending: readonly number[]): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] > step) high = middle;
    else low = middle + 1;
  }
  return ascending[low] ?? Infinity;
}

/**
 * Checks steps at which something happens.
 *
 * @returns The same list.
 * @throws {TypeError} If it is not an array of numbers.
 * @throws {RangeError} If one is not a whole number >= 0.
 */
export function checkMilestones(milestones: unknown): readonly number[] {
  checkArray("set milestones", milestones, "they");
  for (const [i, step] of milestones.entries()) checkNumber(`milestones[${i}]`, step, WHOLE);
  return milestones as number[];
}

/**
 * Multiplies the learning rate by `gamma` at every step: torch's `ExponentialLR`.
 *
 * @throws {TypeError} If an option is not a number or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { exponentialLR } from "@descent/sgd/schedules";
 *
 * const schedule = exponentialLR({ gamma: 0.5 });
 * console.log(schedule(0, 1), schedule(1, 1), schedule(2, 1)); // 1 0.5 0.25
 * ```
 *
 * @category Schedules
 */
export function exponentialLR(options: ExponentialLROptions): Schedule {
  checkOptions(options, ["gamma"]);
  const { gamma } = options;
  checkNumber("gamma", gamma, NOT_NEGATIVE);
  return fromRecurrence({
    first: (lr) => lr,
    next: (lr) => lr * gamma,
    nextChange: (step, lr) => unlessFixed(lr, gamma, step + 1),
  });
}

/**
 * Lets the learning rate fall to 0 as `(1 - step / totalIters) ** power`: torch's `PolynomialLR`.
 *
 * @throws {TypeError} If an option is not a number or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { polynomialLR } from "@descent/sgd/schedules";
 *
 * const schedule = polynomialLR({ totalIters: 4, power: 1 });
 * console.log(schedule(0, 1), schedule(1, 1), schedule(2, 1), schedule(4, 1)); // 1 0.75 0.5 0
 * ```
 *
 * @category Schedules
 */
export function polynomialLR(options: PolynomialLROptions = {}): Schedule {
  checkOptions(options, ["totalIters", "power"]);
  const { totalIters = 5, power = 1 } = options;
  checkNumber("totalIters", totalIters, COUNT);
  checkNumber("power", power, NOT_NEGATIVE);
  const left = (step: number) => 1 - step / totalIters;
  return fromRecurrence({
    first: (lr) => lr,
    next: (lr, step) => step > totalIters ? lr : lr * (left(step) / left(step - 1)) ** power,
    nextChange: (step) => step < totalIters ? step + 1 : Infinity,
  });
}
