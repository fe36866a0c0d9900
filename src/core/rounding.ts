/** How parameters in 16-bit types are rounded, and which of their arrays are float32. */

import { FLOAT32, isSixteenBit } from "./dtype.ts";
import type { ElementType } from "./dtype.ts";
import { checkBoolean, checkNumber, checkWord, refusal, SAFE_WHOLE } from "./validate.ts";

/**
 * How parameters in 16-bit types are rounded.
 *
 * @category Optimizer
 */
export type Rounding = "nearest" | "stochastic" | "torch";

/**
 * The options for parameters in 16-bit types (float16, bfloat16); they do not affect other types.
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
   * Whether a float32 copy of each parameter is kept, made from it at its first step. Each step then
   * updates the copy, so that small updates are not lost, and the parameter receives the rounded
   * values. Not available with rounding `"torch"`.
   * @default {false}
   */
  masterWeights?: boolean;
  /** The seed of stochastic rounding: a whole number from 0 to 2^53 - 1. @default {0} */
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

/**
 * The options for parameters in 16-bit types, all of them present, and the state of their random
 * bits.
 */
export interface Precision {
  readonly rounding: Rounding;
  readonly masterWeights: boolean;
  readonly random: RandomState;
}

/**
 * Checks and completes the options.
 *
 * @throws {TypeError} If an option is of another type or the rounding does not exist.
 * @throws {RangeError} If the seed is out of range, or master weights come with torch's rounding.
 */
export function readPrecision(options: RoundingOptions): Precision {
  const { rounding = "nearest", masterWeights = false, seed = 0 } = options;
  checkWord("rounding", rounding, ["nearest", "stochastic", "torch"]);
  checkBoolean("masterWeights", masterWeights);
  if (masterWeights && rounding === "torch") {
    const reason = 'it needs rounding "nearest" or "stochastic"';
    throw new RangeError(refusal("set masterWeights", reason, '"torch"'));
  }
  checkNumber("seed", seed, SAFE_WHOLE);
  return { rounding, masterWeights, random: { seed, counter: 0 } };
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
 * Refuses options that tensors of a GPU do not support: those of float16 have buffers of float16 and
 * are rounded once, to the nearest.
 *
 * @throws {TypeError} If they are of float16 and an option differs from that.
 */
export function checkDevice(type: ElementType, precision: Precision, what: string): void {
  if (type.device === undefined || type.bytes !== 2) return;
  const { rounding, masterWeights } = precision;
  if (rounding === "nearest" && !masterWeights) return;
  const reason = 'float16 on a GPU needs rounding "nearest" and no masterWeights';
  const shown = `"${rounding}" and ${masterWeights}`;
  throw new TypeError(refusal(`use ${what}`, reason, shown, "values"));
}
