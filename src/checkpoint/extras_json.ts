/** The JSON in a checkpoint's metadata: rounding, a scheduler and a scaler. */

import {
  checkRoundingDict,
  checkScalerDict,
  checkSchedulerDict,
  SCALER_KEYS,
  SCHEDULER_LISTS,
} from "../state/extras.ts";
import type {
  CheckedScheduler,
  GradScalerStateDict,
  LRSchedulerStateDict,
  RoundingStateDict,
} from "../state/extras.ts";
import { unreadable } from "./errors.ts";
import { JsonReader, MAX_VALUES, writeScalar } from "./json.ts";
import type { Scalar } from "./json.ts";
import { checkLimit } from "./safetensors.ts";

/** Its key in the metadata. */
export const ROUNDING = "rounding";

/** Writes what has been checked: the same state gives the same text. */
export function writeRounding({ seed, counter }: RoundingStateDict): string {
  return JSON.stringify({ seed, counter });
}

/**
 * Reads it from text that may be hostile.
 *
 * @throws {CheckpointError} If it is not a valid state; the message names the place.
 */
export function readRounding(json: string): RoundingStateDict {
  return readRecord(json, ROUNDING, checkRoundingDict);
}

/** Its key in the metadata. */
export const SCALER = "grad_scaler";

/** Writes the state of a scaler, which has been checked: the same state gives the same text. */
export function writeScaler(dict: GradScalerStateDict): string {
  return JSON.stringify(Object.fromEntries(SCALER_KEYS.map((key) => [key, dict[key]])));
}

/**
 * Reads the state of a scaler from text that may be hostile.
 *
 * @throws {CheckpointError} If it is not a valid state; the message names the place.
 */
export function readScaler(json: string): GradScalerStateDict {
  return readRecord(json, SCALER, checkScalerDict);
}

/** Its key in the metadata. */
export const SCHEDULER = "lr_scheduler";

const BEST = "best";

/**
 * Writes the state of a scheduler: the same state always gives the same text. A best metric that is
 * infinite, as torch has it before the first one, is left out: JSON has no infinity.
 *
 * @throws {TypeError} If a value is none that JSON has.
 * @throws {RangeError} If there are more values than are read.
 */
export function writeScheduler({ known, others }: CheckedScheduler): string {
  const written = known.filter(([key, value]) => key !== BEST || Number.isFinite(value));
  const entries = [...written, ...[...others].sort(([a], [b]) => a < b ? -1 : 1)];
  const lists = entries.filter(([key]) => isList(key)) as [string, number[]][];
  const count = lists.reduce((total, [, { length }]) => total + length, entries.length);
  checkLimit(SCHEDULER, MAX_VALUES, "keys and items", count);
  const texts = entries.map(([key, value]) => `${JSON.stringify(key)}:${writeValue(key, value)}`);
  return `{${texts.join(",")}}`;
}

function writeValue(key: string, value: unknown): string {
  if (!isList(key)) return writeScalar(`${SCHEDULER}.${key}`, value);
  return `[${(value as number[]).map((item) => writeScalar(`${SCHEDULER}.${key}`, item))}]`;
}

function isList(key: string): boolean {
  return SCHEDULER_LISTS.includes(key);
}

/**
 * Reads the state of a scheduler from text that may be hostile.
 *
 * @throws {CheckpointError} If it is not a valid state; the message names the place.
 */
export function readScheduler(json: string): LRSchedulerStateDict {
  const check = (value: unknown) => {
    const dict = value as LRSchedulerStateDict;
    checkSchedulerDict(dict);
    return dict;
  };
  return readRecord(json, SCHEDULER, check, readValue);
}

function readValue(reader: JsonReader, key: string): unknown {
  if (key === BEST) return reader.extended();
  if (!isList(key)) return reader.scalar();
  const values: Scalar[] = [];
  reader.array(() => values.push(reader.scalar()));
  return values;
}

/**
 * Reads such an object from text that may be hostile.
 *
 * @param name Its key in the metadata.
 * @param check Returns the object, or throws if it is not valid.
 * @param readValue Reads the value of a key; a scalar, unless another is given.
 * @throws {CheckpointError} If it is not valid; the message names the place.
 */
export function readRecord<Dict>(
  json: string,
  name: string,
  check: (dict: unknown) => Dict,
  readValue: (reader: JsonReader, key: string) => unknown = (reader) => reader.scalar(),
): Dict {
  const reader = new JsonReader(json, name);
  const entries: [string, unknown][] = [];
  reader.object((key) => entries.push([key, readValue(reader, key)]));
  reader.end();
  try {
    return check(Object.fromEntries(entries));
  } catch (cause) {
    throw unreadable(`its ${name} is not valid: ${(cause as Error).message}`, cause);
  }
}
