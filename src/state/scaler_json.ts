/** The state of a scaler as JSON in a file's metadata. */

import { readRecord } from "./record_json.ts";
import { checkScalerDict, SCALER_KEYS } from "./scaler_dict.ts";
import type { GradScalerStateDict } from "./scaler_dict.ts";

/** Its key in the metadata. */
export const SCALER = "grad_scaler";

/** Writes the state of a scaler, which has been checked: the same state gives the same text. */
export function writeScaler(dict: GradScalerStateDict): string {
  return JSON.stringify(Object.fromEntries(SCALER_KEYS.map((key) => [key, dict[key]])));
}

/**
 * Reads the state of a scaler from text that may be hostile.
 *
 * @throws {CheckpointError} If it is no valid state; the message names the place.
 */
export function readScaler(json: string): GradScalerStateDict {
  return readRecord(json, SCALER, checkScalerDict);
}
