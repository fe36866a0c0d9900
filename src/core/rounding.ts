/** How parameters in 16-bit types are rounded, and which of their arrays are float32. */

import { FLOAT32, isSixteenBit } from "./dtype.ts";
import type { ElementType } from "./dtype.ts";
import { checkBoolean, checkNumber, checkWord, refusal, SAFE_WHOLE } from "./validate.ts";
import type { Limit } from "./validate.ts";

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
   * Whether each parameter has a master weight, made from it at its first step. Each step then
   * updates the master weight, so that small updates are not lost, and the parameter receives the
   * rounded values. With `true` it is a float32 copy. With `"split"` it is the parameter's own 16 bits
   * and 16 bits of correction beside them, with `"split24"` it has 8 bits of correction and is rounded
   * with a dither; both are for bfloat16 and need rounding `"nearest"`. Not available with rounding
   * `"torch"`.
   * @default {false}
   */
  masterWeights?: boolean | "split" | "split24";
  /**
   * The seed of stochastic rounding, of momentum in 8 bits and of `"split24"`: a whole number from 0 to
   * 2^53 - 1.
   * @default {0}
   */
  seed?: number;
}

const MOMENTUM_BITS: Limit = { text: "8 or 32", holds: (value) => value === 8 || value === 32 };

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

/** Counts a step. The count begins again at 0 after the last number that state dicts may have. */
export function countStep(random: RandomState): void {
  random.counter = random.counter < Number.MAX_SAFE_INTEGER ? random.counter + 1 : 0;
}

/**
 * The options for parameters in 16-bit types, all of them present, and the state of their random
 * bits.
 */
export interface Precision {
  readonly rounding: Rounding;
  readonly masterWeights: boolean | "split" | "split24";
  readonly random: RandomState;
}

/** Whether master weights are parameters and corrections. */
export function isSplit({ masterWeights }: Precision): boolean {
  return typeof masterWeights === "string";
}

/** Whether steps draw random bits, whatever the groups ask for. */
export function isRandom({ rounding, masterWeights }: Precision): boolean {
  return rounding === "stochastic" || masterWeights === "split24";
}

/**
 * Checks and completes the options.
 *
 * @throws {TypeError} If an option is of another type or the rounding does not exist.
 * @throws {RangeError} If the seed is out of range, or master weights come with a rounding that does
 * not allow them.
 */
export function readPrecision(options: RoundingOptions): Precision {
  const { rounding = "nearest", masterWeights = false, seed = 0 } = options;
  checkWord("rounding", rounding, ["nearest", "stochastic", "torch"]);
  checkMasterWeights(masterWeights, rounding);
  checkNumber("seed", seed, SAFE_WHOLE);
  return { rounding, masterWeights, random: { seed, counter: 0 } };
}

function checkMasterWeights(value: unknown, rounding: Rounding): void {
  if (value === "split" || value === "split24") {
    if (rounding === "nearest") return;
    const reason = 'it needs rounding "nearest"';
    throw new RangeError(refusal(`set masterWeights "${value}"`, reason, `"${rounding}"`));
  }
  checkBoolean("masterWeights", value, ['"split"', '"split24"']);
  if (!value || rounding !== "torch") return;
  const reason = 'it needs rounding "nearest" or "stochastic"';
  throw new RangeError(refusal("set masterWeights", reason, '"torch"'));
}

/**
 * Checks how many bits momentum has.
 *
 * @throws {TypeError} If it is not a number.
 * @throws {RangeError} If it is neither 8 nor 32, or 8 with torch's rounding.
 */
export function checkMomentumBits(value: unknown, rounding: Rounding): asserts value is 8 | 32 {
  checkNumber("momentumBits", value, MOMENTUM_BITS);
  if (value !== 8 || rounding !== "torch") return;
  const reason = 'it needs rounding "nearest" or "stochastic"';
  throw new RangeError(refusal("set momentumBits 8", reason, '"torch"'));
}

/** The type that momentum of parameters of a type has in the update. */
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
