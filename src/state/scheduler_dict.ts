/** What a scheduler remembers, in torch's shape and under torch's names. */

import { checkHyperparameter } from "../options.ts";
import { asObject, checkText, inside, wrong } from "./checks.ts";

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
  /** The best metric so far, if there was one. Of a `ReduceLROnPlateau` only. */
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

const CHECKS: Readonly<Record<string, (value: unknown, what: string) => void>> = {
  last_epoch: checkCount,
  base_lrs: checkLrs,
  _last_lr: checkLrs,
  best: checkFinite,
  num_bad_epochs: checkCount,
  cooldown_counter: checkCount,
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
  for (const [key, check] of Object.entries(CHECKS)) {
    const value = entries.get(key);
    entries.delete(key);
    if (value === undefined && !required.includes(key)) continue;
    check(value, `lr_scheduler.${key}`);
    known.push([key, value]);
  }
  const others = [...entries].filter(([, value]) => value !== undefined);
  for (const [key] of others) checkText(key, "a key of lr_scheduler");
  return { known, others };
}

function checkCount(value: unknown, what: string): void {
  if (!Number.isSafeInteger(value) || value as number < 0) {
    throw wrong(what, "a whole number >= 0", value);
  }
}

function checkFinite(value: unknown, what: string): void {
  if (!Number.isFinite(value)) throw wrong(what, "a finite number", value);
}

function checkLrs(values: unknown, what: string): void {
  if (!Array.isArray(values)) throw wrong(what, "an array", values);
  for (const value of values) inside(what, () => checkHyperparameter("lr", value));
}
