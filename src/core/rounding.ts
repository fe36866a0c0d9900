/** How parameters in 16-bit types are rounded, and what is kept of them in float32. */

import { FLOAT32, isSixteenBit } from "./dtype.ts";
import type { ElementType } from "./dtype.ts";
import { describe } from "./validate.ts";

/**
 * How parameters in 16-bit types are rounded.
 *
 * @category Optimizer
 */
export type Rounding = "nearest" | "stochastic" | "torch";

/**
 * The options for parameters in 16-bit types (float16, bfloat16); others do not look at them.
 *
 * @category Optimizer
 */
export interface RoundingOptions {
  /**
   * `"nearest"`: momentum buffers are float32, the whole update is computed in float32, and the
   * parameter is rounded once, to the nearest, ties to even. `"stochastic"`: the same, but rounded up
   * or down at random, by chances that make the expected value exact. `"torch"`: every operation
   * rounds to the 16-bit type, buffers included, which are torch's numbers (`foreach=False`).
   * @default {"nearest"}
   */
  rounding?: Rounding;
  /**
   * Whether a copy in float32 is kept of each parameter, made from it at its first step. Steps then
   * go into the copy, and the parameter gets the rounded values. Not with rounding `"torch"`.
   * @default {false}
   */
  masterWeights?: boolean;
  /** What stochastic rounding draws its random bits from: whole, from 0 to 2^53 - 1. @default {0} */
  seed?: number;
}

/** The names of the options. */
export const ROUNDING_KEYS: readonly (keyof RoundingOptions)[] = [
  "rounding",
  "masterWeights",
  "seed",
];

/** What random bits depend on. */
export interface RandomState {
  /** The seed. */
  seed: number;
  /** How many steps have drawn from it. */
  counter: number;
}

/** The options for parameters in 16-bit types, all of them present, and where their random bits are. */
export interface Precision {
  readonly rounding: Rounding;
  readonly masterWeights: boolean;
  readonly random: RandomState;
}

/**
 * Checks and completes the options.
 *
 * @throws {TypeError} If an option is of another type or no such rounding exists.
 * @throws {RangeError} If the seed is out of range, or master weights come with torch's rounding.
 */
export function readRounding(options: RoundingOptions): Precision {
  const { rounding = "nearest", masterWeights = false, seed = 0 } = options;
  if (!["nearest", "stochastic", "torch"].includes(rounding)) {
    throw new TypeError(
      `Cannot set rounding as it must be "nearest", "stochastic" or "torch": current value is ${
        describe(rounding)
      }`,
    );
  }
  if (typeof masterWeights !== "boolean") {
    throw new TypeError(
      `Cannot set masterWeights as it must be true or false: current value is ${
        describe(masterWeights)
      }`,
    );
  }
  if (masterWeights && rounding === "torch") {
    throw new RangeError(
      'Cannot set masterWeights as it needs rounding "nearest" or "stochastic": ' +
        'current value is "torch"',
    );
  }
  checkCount("seed", seed);
  return { rounding, masterWeights, random: { seed, counter: 0 } };
}

/**
 * Checks a seed or a counter.
 *
 * @throws {TypeError} If it is no number.
 * @throws {RangeError} If it is not whole, negative, or above 2^53 - 1.
 */
export function checkCount(name: string, value: unknown): asserts value is number {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot set ${name} as it must be a number: current value is ${describe(value)}`,
    );
  }
  if (!(Number.isSafeInteger(value) && value >= 0)) {
    throw new RangeError(
      `Cannot set ${name} as it must be a whole number from 0 to 2^53 - 1: ` +
        `current value is ${value}`,
    );
  }
}

/** The type of the momentum buffers of parameters of a type. */
export function bufferTypeOf(type: ElementType, rounding: Rounding): ElementType {
  return isSixteenBit(type) && rounding !== "torch" ? FLOAT32 : type;
}

const OFFSETS: Readonly<Record<Rounding, number>> = { nearest: 0, torch: 2, stochastic: 4 };

/** The number in the tensor table that stands for a type and its rounding. */
export function codeOf(type: ElementType, rounding: Rounding): number {
  return type.code + (isSixteenBit(type) ? OFFSETS[rounding] : 0);
}

/**
 * Refuses what tensors of a GPU cannot do: those of float16 have buffers of float16 and are rounded
 * once, to the nearest.
 *
 * @throws {TypeError} If they are of float16 and more is asked for.
 */
export function checkDevice(type: ElementType, precision: Precision, what: string): void {
  if (type.device === undefined || type.bytes !== 2) return;
  const { rounding, masterWeights } = precision;
  if (rounding === "nearest" && !masterWeights) return;
  throw new TypeError(
    `Cannot use ${what} as float16 on a GPU needs rounding "nearest" and no masterWeights: ` +
      `current values are "${rounding}" and ${masterWeights}`,
  );
}
