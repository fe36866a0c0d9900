/** Where stochastic rounding goes on. */

import { checkCount } from "../rounding.ts";
import { asObject, inside } from "./checks.ts";

/** Where the random bits of stochastic rounding go on. */
export interface RoundingStateDict {
  /** The seed. */
  seed: number;
  /** The steps that have been taken with it. */
  counter: number;
}

/**
 * Checks where random bits go on.
 *
 * @throws {TypeError} If it is no object of a seed and a counter.
 * @throws {RangeError} If one of them is out of range.
 */
export function checkRoundingDict(value: unknown): RoundingStateDict {
  const { seed, counter, ...rest } = asObject(value, "rounding");
  for (const key of Object.keys(rest)) {
    throw new TypeError(`Cannot use the state dict as rounding.${key} is no state of SGD`);
  }
  inside("rounding", () => {
    checkCount("seed", seed);
    checkCount("counter", counter);
  });
  return { seed, counter } as { seed: number; counter: number };
}
