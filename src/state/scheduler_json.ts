/** The state of a scheduler as JSON in a file's metadata. */

import { MAX_VALUES } from "./json_reader.ts";
import type { JsonReader, Scalar } from "./json_reader.ts";
import { writeScalar } from "./json_writer.ts";
import { readRecord } from "./record_json.ts";
import { checkLimit } from "./safetensors.ts";
import { checkSchedulerDict, SCHEDULER_LISTS } from "./scheduler_dict.ts";
import type { CheckedScheduler, LRSchedulerStateDict } from "./scheduler_dict.ts";

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
 * @throws {CheckpointError} If it is no valid state; the message names the place.
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
