/** Hyperparameters and options of steps: mostly good ones. */

import type { GroupOptions, RoundingOptions, StepOptions } from "@descent/sgd";
import type { Random } from "./random.ts";

/** The last one fits float64 alone; it is a power of two, as `exact` hyperparameters are. */
const BAD_NUMBERS = [-1, NaN, Infinity, "0.1", null, {}, 2 ** 130];

/**
 * Hyperparameters of a group.
 *
 * @param exact Powers of two: their products are exact, so that it makes no difference whether a
 * backend rounds a product before a sum, and both have the same bits in every dtype.
 */
export function someGroup(random: Random, exact: boolean): GroupOptions {
  const number = (powers: readonly number[]) => {
    return exact ? 2 ** -random.pick(powers) : random.float();
  };
  const options = random.some<GroupOptions>({
    lr: () => number([1, 2, 3, 4]),
    momentum: () => random.chance(0.7) ? number([0, 1, 2]) : 0,
    dampening: () => random.chance(0.5) ? number([1, 1]) : 0,
    weightDecay: () => random.chance(0.5) ? number([3, 5]) : 0,
    decoupledWeightDecay: () => random.chance(0.5),
    maximize: () => random.chance(0.5),
    foreach: () => random.pick([true, false, null]),
    sign: () => exact && random.chance(0.5),
  }, 0.5);
  const fits = (options.momentum ?? 0) > 0 && !options.dampening;
  if (fits && random.chance(0.3)) options.nesterov = true;
  return options;
}

/** A hyperparameter to assign, and its value: sometimes a bad one. */
export function someAssignment(random: Random, exact: boolean): [keyof GroupOptions, unknown] {
  if (random.chance(0.1)) {
    return [random.pick(["lr", "momentum", "weightDecay"]), random.pick(BAD_NUMBERS)];
  }
  const options = { lr: 0.125, momentum: 0.5, ...someGroup(random, exact) };
  return random.pick(Object.entries(options)) as [keyof GroupOptions, unknown];
}

/** How 16-bit parameters are rounded. */
export function someRounding(random: Random): RoundingOptions {
  const rounding = random.pick(["nearest", "nearest", "stochastic", "torch"] as const);
  const masterWeights = rounding !== "torch" && random.chance(0.3);
  return { rounding, masterWeights, seed: random.int(0, 9) };
}

/** Options of a step. */
export function someStepOptions(random: Random): StepOptions {
  const options = random.some<StepOptions>({
    gradScale: () => random.pick([1, 2, 8, 3.7]),
    maxNorm: () => random.pick([0, 0.5, 2, 1e3, Infinity]),
    maxValue: () => random.pick([0.25, 1, Infinity]),
    checkFinite: () => random.chance(0.5),
    zeroGrad: () => random.chance(0.5),
  }, 0.35);
  if (options.maxNorm !== undefined && random.chance(0.4)) options.maxNormPer = "group";
  if (options.maxNorm !== undefined && random.chance(0.4)) options.normType = someNormType(random);
  if (random.chance(0.03)) Object.assign(options, { [random.pick(["maxNorm", "typo"])]: -1 });
  return options;
}

/** A norm; rarely one that there is not. */
export function someNormType(random: Random): number {
  return random.pick([1, 2, Infinity, Infinity, 1, random.chance(0.1) ? 3 : 2]);
}
