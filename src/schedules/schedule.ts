/** What a schedule is, and how torch's recurrences become functions of the step. */

import { checkOption, NOT_NEGATIVE, WHOLE } from "./options.ts";

/**
 * A learning rate as a function of the step. Any function will do that depends on nothing else, as
 * torch's `LambdaLR` takes them.
 *
 * @example
 * ```ts
 * import { exponentialLR, type Schedule } from "@descent/sgd";
 *
 * const own: Schedule = (step, baseLr) => baseLr / (1 + step);
 * const torchs: Schedule = exponentialLR({ gamma: 0.5 });
 * console.log(own(3, 1), torchs(3, 1)); // 0.25 0.125
 * ```
 */
export interface Schedule {
  /**
   * The learning rate at a step.
   *
   * @param step The step, counted from 0: a whole number. What a step is, a batch or an epoch, is
   * the caller's choice.
   * @param baseLr The learning rate that the group started with, >= 0.
   */
  (step: number, baseLr: number): number;
  /** The momentum at a step, for a schedule that moves that too. */
  readonly momentum?: (step: number) => number;
}

/**
 * A schedule as torch computes it: each learning rate from the one before, so that the numbers are
 * torch's, rounding and all, and schedules can be chained.
 */
export interface Recurrence {
  /** The learning rate at step 0, where another schedule may have changed it already. */
  first(lr: number, baseLr: number): number;
  /** The learning rate at `step`, 1 or later, from the one before. */
  next(lr: number, step: number, baseLr: number): number;
  /** The learning rate at its step 0 in a sequence. @default {first(baseLr, baseLr)} */
  restart?(baseLr: number): number;
}

const recurrences = new WeakMap<Schedule, Recurrence>();

/** The schedule of a recurrence. It goes on from the call before where it can. */
export function fromRecurrence(recurrence: Recurrence): Schedule {
  let reached = { step: Infinity, baseLr: NaN, lr: NaN };
  const schedule: Schedule = (step, baseLr) => {
    checkPlace(step, baseLr);
    if (reached.baseLr !== baseLr || reached.step > step) {
      reached = { step: 0, baseLr, lr: recurrence.first(baseLr, baseLr) };
    }
    while (reached.step < step) {
      reached.lr = recurrence.next(reached.lr, reached.step + 1, baseLr);
      reached.step++;
    }
    return reached.lr;
  };
  recurrences.set(schedule, recurrence);
  return schedule;
}

/** The schedule of a function of the step, with its arguments checked. */
export function fromFunction(at: (step: number, baseLr: number) => number): Schedule {
  return (step, baseLr) => {
    checkPlace(step, baseLr);
    return at(step, baseLr);
  };
}

/** The recurrence of a schedule; a plain function does not look at the learning rate before. */
export function recurrenceOf(schedule: Schedule): Recurrence {
  return recurrences.get(schedule) ?? {
    first: (_, baseLr) => schedule(0, baseLr),
    next: (_, step, baseLr) => schedule(step, baseLr),
  };
}

function checkPlace(step: unknown, baseLr: unknown): void {
  checkOption("step", step, WHOLE);
  checkOption("baseLr", baseLr, NOT_NEGATIVE);
}
