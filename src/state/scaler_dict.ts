/** What a `GradScaler` remembers, in torch's shape and under torch's names. */

import { isInvertible } from "../options.ts";
import { asObject, wrong } from "./checks.ts";
import { quote } from "./errors.ts";

/** The state of a `GradScaler`. */
export interface GradScalerStateDict {
  /** What losses are multiplied by. */
  scale: number;
  /** What the scale is multiplied by after enough steps without infinities. */
  growth_factor: number;
  /** What it is multiplied by after infinities. */
  backoff_factor: number;
  /** How many steps are enough. */
  growth_interval: number;
  /** Steps since the last change. */
  _growth_tracker: number;
}

const CHECKS: Readonly<Record<keyof GradScalerStateDict, [string, (value: number) => boolean]>> = {
  scale: ["a finite number > 0 with an inverse in float32", isInvertible],
  growth_factor: ["a finite number > 1", (value) => value > 1 && value < Infinity],
  backoff_factor: ["a number > 0 and < 1", (value) => value > 0 && value < 1],
  growth_interval: ["a whole number >= 1", (value) => Number.isSafeInteger(value) && value >= 1],
  _growth_tracker: ["a whole number >= 0", (value) => Number.isSafeInteger(value) && value >= 0],
};

const EMPTY =
  ". grad_scaler is {}, as torch's GradScaler gives it if it is disabled (enabled=False): " +
  "there is no state to go on from";

/** The keys of the state, in torch's order. */
export const SCALER_KEYS = Object.keys(CHECKS) as (keyof GradScalerStateDict)[];

/**
 * Checks the state of a scaler.
 *
 * @throws {TypeError} If something is missing or not what it must be, or there is another key.
 */
export function checkScalerDict(dict: unknown): GradScalerStateDict {
  const entries = asObject(dict, "grad_scaler");
  for (const [key, [kind, fits]] of Object.entries(CHECKS)) {
    const value = Object.hasOwn(entries, key) ? entries[key] : undefined;
    if (typeof value === "number" && fits(value)) continue;
    const error = wrong(`grad_scaler.${key}`, kind, value);
    if (Object.keys(entries).length === 0) error.message += EMPTY;
    throw error;
  }
  const other = Object.keys(entries).find((key) => !Object.hasOwn(CHECKS, key));
  if (other !== undefined) {
    throw new TypeError(
      `Cannot use the state dict as its key ${quote(other)} is no state of a GradScaler`,
    );
  }
  return entries as unknown as GradScalerStateDict;
}
