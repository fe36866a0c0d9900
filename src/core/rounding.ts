/** How parameters in 16-bit types are rounded, and what is kept of them in float32. */

import { FLOAT32, isSixteenBit } from "./dtype.ts";
import type { ElementType } from "./dtype.ts";
import { checkBoolean, checkNumber, checkWord, refusal, SAFE_WHOLE } from "./validate.ts";

/** How parameters in 16-bit types are rounded. */
export type Rounding = "nearest" | "stochastic" | "torch";

/** The options for parameters in 16-bit types (float16, bfloat16); others do not look at them. */
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
 * Refuses what tensors of a GPU cannot do: those of float16 have buffers of float16 and are rounded
 * once, to the nearest.
 *
 * @throws {TypeError} If they are of float16 and more is asked for.
 */
export function checkDevice(type: ElementType, precision: Precision, what: string): void {
  if (type.device === undefined || type.bytes !== 2) return;
  const { rounding, masterWeights } = precision;
  if (rounding === "nearest" && !masterWeights) return;
  const reason = 'float16 on a GPU needs rounding "nearest" and no masterWeights';
  const shown = `"${rounding}" and ${masterWeights}`;
  throw new TypeError(refusal(`use ${what}`, reason, shown, "values"));
}
