/** What a checkpoint's metadata says of averaged weights, and the tensors of their averages. */

import type { FloatArray } from "../core/host_array.ts";
import { quote, WHOLE, wrong } from "../core/validate.ts";
import { checkAverageHead, checkNameCount } from "../state/weight_average.ts";
import type { CheckedAverages, WeightAverageStateDict } from "../state/weight_average.ts";
import type { StoredArray } from "../state/stored_array.ts";
import { averageName } from "../state/tensor_names.ts";
import { unreadable } from "./errors.ts";
import { readRecord } from "./extras_json.ts";
import { MAX_VALUES } from "./json.ts";
import type { JsonReader, Scalar } from "./json.ts";
import { checkLimit } from "./safetensors.ts";
import type { Slot } from "./slots.ts";
import type { Described } from "./tensor_fields.ts";

/** Its key in the metadata. */
export const AVERAGE = "weight_average";

const NAMES = "param_names";

/** What the metadata has of averaged weights. */
export interface AverageHead {
  /** How many averages there are. */
  readonly size: number;
  readonly dict: Pick<WeightAverageStateDict, "n_averaged" | "param_names">;
}

/** Writes what the tensors do not say: the same state gives the same text. */
export function writeAverageHead({ count, averages, names }: CheckedAverages): string {
  checkLimit(AVERAGE, MAX_VALUES, "keys and items", 3 + (names?.length ?? 0));
  const head = { n_averaged: count, size: averages.length };
  return JSON.stringify(names === null ? head : { ...head, [NAMES]: names });
}

/**
 * Reads it from text that may be hostile.
 *
 * @throws {CheckpointError} If it is not valid; the message names the place.
 */
export function readAverageHead(json: string): AverageHead {
  return readRecord(json, AVERAGE, checkHead, readValue);
}

function checkHead(value: unknown): AverageHead {
  const { size, ...rest } = value as Record<string, unknown>;
  if (!WHOLE.holds(size as number)) {
    throw wrong(`${AVERAGE}.size`, WHOLE.text, size);
  }
  const { count, names } = checkAverageHead(rest);
  checkNameCount(names, size as number);
  const dict = { n_averaged: count, ...(names === null ? {} : { [NAMES]: [...names] }) };
  return { size: size as number, dict };
}

function readValue(reader: JsonReader, key: string): unknown {
  if (key !== NAMES) return reader.scalar();
  const names: Scalar[] = [];
  reader.array(() => names.push(reader.scalar()));
  return names;
}

/**
 * Puts the averages of a file together.
 *
 * @throws {CheckpointError} If one of them is missing, or is there twice.
 */
export function collectAverages(
  tensors: readonly Described[],
  slots: readonly Slot[],
  arrays: readonly StoredArray[],
  { size, dict }: AverageHead,
): WeightAverageStateDict {
  const averages: WeightAverageStateDict["averages"] = {};
  let found = 0;
  slots.forEach(({ kind, index }, i) => {
    if (kind !== "average") return;
    const { name, info: { shape } } = tensors[i];
    if (Object.hasOwn(averages, index)) {
      throw unreadable(`its header is not valid: the key ${quote(name)} is duplicated`);
    }
    const data = arrays[i] as FloatArray;
    averages[index] = shape.length === 1 ? { data } : { data, shape };
    found++;
  });
  if (found < size) {
    const missing = Array.from({ length: found + 1 }, (_, i) => i)
      .find((i) => !Object.hasOwn(averages, i))!;
    throw unreadable(`its tensor ${quote(averageName(missing))} is missing`);
  }
  return { ...dict, averages };
}
