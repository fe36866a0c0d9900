/** Where stochastic rounding goes on, as JSON in a file's metadata. */

import { readRecord } from "./record_json.ts";
import { checkRoundingDict } from "./rounding_dict.ts";
import type { RoundingStateDict } from "./rounding_dict.ts";

/** Its key in the metadata. */
export const ROUNDING = "rounding";

/** Writes what has been checked: the same state gives the same text. */
export function writeRounding({ seed, counter }: RoundingStateDict): string {
  return JSON.stringify({ seed, counter });
}

/**
 * Reads it from text that may be hostile.
 *
 * @throws {CheckpointError} If it is no valid state; the message names the place.
 */
export function readRounding(json: string): RoundingStateDict {
  return readRecord(json, ROUNDING, checkRoundingDict);
}
