/** What a state dict may hold beside the optimizer's state: rounding, a scheduler and a scaler. */

import { checkHyperparameter, isInvertible } from "../core/hyperparameters.ts";
import {
  ABOVE_ONE,
  asObject,
  BELOW_ONE,
  cannot,
  checkNumber,
  checkText,
  COUNT,
  inside,
  quote,
  SAFE_WHOLE,
  WHOLE,
  withoutResidue,
  wrong,
} from "../core/validate.ts";

/**
 * From where the random bits of stochastic rounding continue.
 *
 * @category Checkpoints
 */
export interface RoundingStateDict {
  /** The seed. */
  seed: number;
  /** The steps that have been taken with it. */
  counter: number;
}

/**
 * Checks that a part of a state dict is an object, and copies it. Files have it only if it was saved.
 *
 * @param option The option of `saveState` that saves it.
 * @throws {TypeError} If it is missing, or not a plain object.
 */
export function extraOf(value: unknown, what: string, option: string): Record<string, unknown> {
  if (value === undefined) {
    const remedy = `saveState(path, optimizer, { ${option} }) saves it`;
    throw new TypeError(cannot("use the state dict", `it has no ${what}`, remedy));
  }
  return asObject(value, what);
}

/**
 * Checks from where random bits continue.
 *
 * @throws {TypeError} If it is not an object of a seed and a counter.
 * @throws {RangeError} If one of them is out of range.
 */
export function checkRoundingDict(value: unknown): RoundingStateDict {
  const { seed, counter, ...rest } = asObject(value, "rounding");
  for (const key of Object.keys(rest)) {
    throw new TypeError(cannot("use the state dict", `rounding.${key} is not a state of SGD`));
  }
  inside("rounding", () => {
    checkNumber("seed", seed, SAFE_WHOLE);
    checkNumber("counter", counter, SAFE_WHOLE);
  });
  return { seed, counter } as { seed: number; counter: number };
}

/**
 * The state of a `GradScaler`: `{}` if it is not enabled, as in torch.
 *
 * @category Checkpoints
 */
export type GradScalerStateDict = {
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
} | Record<string, never>;

/** The state of a scaler that is enabled. */
export type ScalerState = Extract<GradScalerStateDict, { scale: number }>;

const SCALER_CHECKS: Readonly<
  Record<keyof ScalerState, [string, (value: number) => boolean]>
> = {
  scale: ["a finite number > 0 with an inverse in float32", isInvertible],
  growth_factor: ["a finite number > 1", ABOVE_ONE.holds],
  backoff_factor: ["a number > 0 and < 1", BELOW_ONE.holds],
  growth_interval: [COUNT.text, COUNT.holds],
  _growth_tracker: [WHOLE.text, WHOLE.holds],
};

const EMPTY =
  ". grad_scaler is {}, as torch's GradScaler gives it if it is disabled (enabled=False): " +
  "there is no state to resume from";

/** The keys of the state, in torch's order. */
export const SCALER_KEYS = Object.keys(SCALER_CHECKS) as (keyof ScalerState)[];

/**
 * Checks the state of a scaler that is enabled.
 *
 * @throws {TypeError} If something is missing or not what it must be, or there is another key.
 */
export function checkScalerDict(dict: unknown): ScalerState {
  const entries = extraOf(dict, "grad_scaler", "scaler");
  for (const [key, [kind, fits]] of Object.entries(SCALER_CHECKS)) {
    const value = Object.hasOwn(entries, key) ? entries[key] : undefined;
    if (typeof value === "number" && fits(value)) continue;
    const error = wrong(`grad_scaler.${key}`, kind, value);
    if (Object.keys(entries).length === 0) error.message += EMPTY;
    throw error;
  }
  const other = Object.keys(entries).find((key) => !Object.hasOwn(SCALER_CHECKS, key));
  if (other !== undefined) {
    throw new TypeError(
      cannot("use the state dict", `its key ${quote(other)} is not a state of a GradScaler`),
    );
  }
  return entries as unknown as ScalerState;
}

/**
 * The state of an `LRScheduler` or a `ReduceLROnPlateau`. The schedule itself is not part of it:
 * it is recreated from its options, as the optimizer is from its parameters. Other keys, such as
 * torch's `gamma`, are kept.
 *
 * @category Checkpoints
 */
export interface LRSchedulerStateDict {
  /** The step that it has come to, counted from 0. */
  last_epoch: number;
  /** The learning rate of each group. */
  _last_lr: number[];
  /**
   * What each group started with; torch has none for groups that were added later. Of an
   * `LRScheduler` only.
   */
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
  const entries = new Map(Object.entries(extraOf(dict, "lr_scheduler", "scheduler")));
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

/** The bases in the state of a scheduler; none if it is a plateau's, or there is no state. */
export function baseLrsOf(scheduler: CheckedScheduler | null): readonly number[] {
  return (scheduler?.known.find(([key]) => key === "base_lrs")?.[1] ?? []) as number[];
}

/**
 * Reads the state from which a scheduler resumes.
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
  if (WHOLE.holds(value as number)) return value;
  throw wrong(what, WHOLE.text, value);
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
