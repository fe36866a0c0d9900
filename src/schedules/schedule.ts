/** What a schedule is, and how torch's recurrences become functions of the step. */

import { checkNumber, NOT_NEGATIVE, WHOLE, wrongType } from "../core/validate.ts";

/**
 * A learning rate as a function of the step. Any function works whose result depends on
 * nothing else, like those of torch's `LambdaLR`.
 *
 * @example
 * ```ts
 * import { exponentialLR, type Schedule } from "@descent/sgd/schedules";
 *
 * const own: Schedule = (step, baseLr) => baseLr / (1 + step);
 * const torchs: Schedule = exponentialLR({ gamma: 0.5 });
 * console.log(own(3, 1), torchs(3, 1)); // 0.25 0.125
 * ```
 *
 * @category Schedules
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
  restart?(baseLr: number, lr: number): number;
  /**
   * Whether `restart` looks at the learning rate before, as in torch those do that have no closed form.
   * @default {false}
   */
  readonly continues?: boolean;
  /**
   * The first step after `step` at which `next` may change this learning rate; Infinity if it stays.
   * A jump leaves out the steps in between.
   * @default {step + 1}
   */
  nextChange?(step: number, lr: number): number;
  /**
   * The last step up to `step` at which `next` does not look at the learning rate before. A jump
   * begins there.
   * @default {0}
   */
  lastReset?(step: number): number;
}

const recurrences = new WeakMap<Schedule, Recurrence>();
const initialLrs = new WeakMap<Schedule, InitialLr>();

/** The schedule of a recurrence. It continues from the call before where it can. */
export function fromRecurrence(recurrence: Recurrence): Schedule {
  let reached = { step: Infinity, baseLr: NaN, lr: NaN };
  const schedule: Schedule = (step, baseLr) => {
    checkPlace(step, baseLr);
    const reset = lastReset(recurrence, step);
    const isUsable = reached.baseLr === baseLr && reached.step <= step && reached.step >= reset;
    const start = isUsable ? reached : begin(recurrence, reset, baseLr);
    reached = { step, baseLr, lr: walk(recurrence, start, step) };
    return reached.lr;
  };
  recurrences.set(schedule, recurrence);
  return schedule;
}

/** A learning rate, the step that it is of, and the one that it comes from. */
interface Place {
  readonly step: number;
  readonly baseLr: number;
  readonly lr: number;
}

function begin({ first, next }: Recurrence, step: number, baseLr: number): Place {
  return { step, baseLr, lr: step === 0 ? first(baseLr, baseLr) : next(baseLr, step, baseLr) };
}

/** The learning rate at a later step. */
function walk(recurrence: Recurrence, { step, baseLr, lr }: Place, end: number): number {
  let at = nextChange(recurrence, step, lr);
  while (at <= end) {
    lr = recurrence.next(lr, at, baseLr);
    at = nextChange(recurrence, at, lr);
  }
  return lr;
}

/** The first step after `step` at which a recurrence may change a learning rate. */
export function nextChange(recurrence: Recurrence, step: number, lr: number): number {
  return recurrence.nextChange === undefined ? step + 1 : recurrence.nextChange(step, lr);
}

/** The last step up to `step` at which a recurrence does not look at the learning rate before. */
export function lastReset(recurrence: Recurrence, step: number): number {
  return recurrence.lastReset?.(step) ?? 0;
}

/** When a learning rate changes that is multiplied by the same factor each time; never if it stays. */
export function unlessFixed(lr: number, factor: number, step: number): number {
  return lr * factor === lr ? Infinity : step;
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
    lastReset: (step) => step,
  };
}

/** The learning rate that a schedule starts from, whatever its groups start from. */
interface InitialLr {
  readonly lr: number;
  /** Whether the `initialLr` of a group stays where it is settled already. */
  readonly isDefault: boolean;
}

/** Records what a scheduler makes the `initialLr` of the groups that follow a schedule. */
export function setInitialLrFor(schedule: Schedule, initialLr: InitialLr): void {
  initialLrs.set(schedule, initialLr);
}

/** What a scheduler makes the `initialLr` of the groups that follow a schedule, if it changes it. */
export function initialLrFor(schedule: Schedule): InitialLr | undefined {
  return initialLrs.get(schedule);
}

/**
 * Checks what an own function gives.
 *
 * @throws {TypeError} If it is not a number.
 */
export function checkResult(name: string, value: unknown): number {
  if (typeof value === "number") return value;
  throw wrongType(`use ${name}`, "its result must be a number", value);
}

/**
 * Checks a function that a schedule calls.
 *
 * @throws {TypeError} If it is something else.
 */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== "function") throw wrongType(`set ${name}`, "it must be a function", value);
}

function checkPlace(step: unknown, baseLr: unknown): void {
  checkNumber("step", step, WHOLE);
  checkNumber("baseLr", baseLr, NOT_NEGATIVE);
}
