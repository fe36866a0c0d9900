/** What a scheduler remembers, in torch's shape and under torch's names. */

import { checkHyperparameter } from "../options.ts";
import { asObject, checkText, inside, withoutResidue, wrong } from "./checks.ts";

/**
 * The state of an `LRScheduler` or a `ReduceLROnPlateau`. The schedule itself is no part of it: it
 * is made anew from its options, as the optimizer is from its parameters. Other keys, such as
 * torch's `gamma`, are kept.
 */
export interface LRSchedulerStateDict {
  /** The step that it has come to, counted from 0. */
  last_epoch: number;
  /** The learning rate of each group. */
  _last_lr: number[];
  /** What each group started with. Of an `LRScheduler` only. */
  base_lrs?: number[];
  /** The best metric so far; absent or infinite, as torch has it, before the first one. Of a `ReduceLROnPlateau` only. */
  best?: number;
  /** Steps since then, or since the last reduction. Of a `ReduceLROnPlateau` only. */
  num_bad_epochs?: number;
  /** Steps until it counts again. Of a `ReduceLROnPlateau` only. */
  cooldown_counter?: number;
  /** Keys that Descent does not know. */
  [other: string]: unknown;
}

/** A scheduler's state that has been checked. */
export interface CheckedScheduler {
  /** The entries that Descent knows, in its order. */
  readonly known: readonly (readonly [string, unknown])[];
  readonly others: readonly (readonly [string, unknown])[];
}

/** Each returns the value as it is meant. */
const READERS: Readonly<Record<string, (value: unknown, what: string) => unknown>> = {
  last_epoch: readCount,
  base_lrs: readLrs,
  _last_lr: readLrs,
  best: readBest,
  num_bad_epochs: readCount,
  cooldown_counter: readCount,
};
const REQUIRED: readonly string[] = ["last_epoch", "_last_lr"];

/** The keys whose values are lists of numbers. */
export const SCHEDULER_LISTS: readonly string[] = ["base_lrs", "_last_lr"];

/**
 * Checks the state of a scheduler.
 *
 * @param dict The state.
 * @param required The keys that it must have.
 * @throws {TypeError} If something is missing or of another type.
 * @throws {RangeError} If a learning rate is out of range.
 */
export function checkSchedulerDict(
  dict: unknown,
  required: readonly string[] = REQUIRED,
): CheckedScheduler {
  const entries = new Map(Object.entries(asObject(dict, "lr_scheduler")));
  const known: [string, unknown][] = [];
  for (const [key, read] of Object.entries(READERS)) {
    const value = entries.get(key);
    entries.delete(key);
    if (value === undefined && !required.includes(key)) continue;
    known.push([key, read(value, `lr_scheduler.${key}`)]);
  }
  const others = [...entries].filter(([, value]) => value !== undefined);
  for (const [key] of others) checkText(key, "a key of lr_scheduler");
  return { known, others };
}

/**
 * Reads what a scheduler goes on from.
 *
 * @param dict The state.
 * @param required The keys that it must have.
 * @throws {TypeError} If something is missing or of another type.
 * @throws {RangeError} If a learning rate is out of range.
 */
export function readSchedulerDict(
  dict: unknown,
  required: readonly string[],
): LRSchedulerStateDict {
  return Object.fromEntries(checkSchedulerDict(dict, required).known) as LRSchedulerStateDict;
}

function readCount(value: unknown, what: string): unknown {
  if (Number.isSafeInteger(value) && value as number >= 0) return value;
  throw wrong(what, "a whole number >= 0", value);
}

function readBest(value: unknown, what: string): unknown {
  if (typeof value === "number" && !Number.isNaN(value)) return value;
  throw wrong(what, "a number that is not NaN", value);
}

function readLrs(values: unknown, what: string): unknown {
  if (!Array.isArray(values)) throw wrong(what, "an array", values);
  return Array.from(values, (given) => {
    const value = withoutResidue(given);
    inside(what, () => checkHyperparameter("lr", value));
    return value;
  });
}
