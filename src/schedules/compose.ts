/** Schedules made of schedules: one after another, or all at once. */

import { cannot, checkArray, refusal, wrongType } from "../core/validate.ts";
import { checkMilestones } from "./decay.ts";
import { fromRecurrence, lastReset, nextChange, recurrenceOf } from "./schedule.ts";
import type { Recurrence, Schedule } from "./schedule.ts";

/**
 * One schedule after another, as for a warm-up: torch's `SequentialLR`.
 *
 * Each starts at its own step 0 with the base learning rate, not with the one before; that is why
 * a warm-up should end at factor 1. As in torch, `swaLR` and `multiplicativeLR` start from the learning
 * rate before.
 *
 * @param schedules The schedules, none of which may move momentum.
 * @param milestones The steps at which the second and those after it begin, in order: one fewer than
 * schedules. Of those that begin at the same step the last one counts.
 * @throws {TypeError} If something is of another type, or a schedule moves momentum.
 * @throws {RangeError} If there are no schedules or the milestones do not fit.
 *
 * @example
 * ```ts
 * import { cosineAnnealingLR, linearLR, sequentialLR } from "@descent/sgd/schedules";
 *
 * const warmUp = linearLR({ startFactor: 0.1, totalIters: 5 });
 * const schedule = sequentialLR([warmUp, cosineAnnealingLR({ tMax: 95 })], [5]);
 * console.log(schedule(0, 1), schedule(5, 1), schedule(100, 1)); // 0.1 1 0
 * ```
 *
 * @category Schedules
 */
export function sequentialLR(
  schedules: readonly Schedule[],
  milestones: readonly number[],
): Schedule {
  const parts = checkParts(schedules);
  const starts = [0, ...checkMilestones(milestones)];
  checkFit(parts.length, milestones);
  const partAt = (step: number) => starts.findLastIndex((start) => start <= step);
  return fromRecurrence({
    first: (_, baseLr) => parts[partAt(0)].first(baseLr, baseLr),
    next(lr, step, baseLr) {
      const part = partAt(step);
      const since = step - starts[part];
      return since === 0 ? restart(parts[part], baseLr, lr) : parts[part].next(lr, since, baseLr);
    },
    nextChange(step, lr) {
      const part = partAt(step);
      const change = starts[part] + nextChange(parts[part], step - starts[part], lr);
      return Math.min(change, starts[part + 1] ?? Infinity);
    },
    lastReset(step) {
      let part = partAt(step);
      let reset = lastReset(parts[part], step - starts[part]);
      while (reset === 0 && parts[part].continues && starts[part] > 0) {
        const last = starts[part] - 1;
        part = partAt(last);
        reset = lastReset(parts[part], last - starts[part]);
      }
      return starts[part] + reset;
    },
  });
}

/**
 * All schedules at once, each on the learning rate that the one before has made: torch's
 * `ChainedScheduler`. Those that multiply the learning rate multiply each other's factors.
 *
 * A plain function, `cosineAnnealingWarmRestarts` and `oneCycleLR` do not look at the learning rate
 * before, and override the schedules in front of them. A cosine with `etaMin` may be taken below zero
 * by what comes after it, in torch too: a scheduler then throws instead of setting it.
 *
 * @param schedules The schedules, none of which may move momentum.
 * @throws {TypeError} If something is of another type, or a schedule moves momentum.
 * @throws {RangeError} If there are no schedules.
 *
 * @example
 * ```ts
 * import { chainedScheduler, constantLR, exponentialLR } from "@descent/sgd/schedules";
 *
 * const warmUp = constantLR({ factor: 0.5, totalIters: 2 });
 * const schedule = chainedScheduler([warmUp, exponentialLR({ gamma: 0.5 })]);
 * console.log(schedule(0, 1), schedule(1, 1), schedule(2, 1)); // 0.5 0.25 0.25
 * ```
 *
 * @category Schedules
 */
export function chainedScheduler(schedules: readonly Schedule[]): Schedule {
  const parts = checkParts(schedules);
  return fromRecurrence({
    first: (lr, baseLr) => parts.reduce((lr, part) => part.first(lr, baseLr), lr),
    next: (lr, step, baseLr) => parts.reduce((lr, part) => part.next(lr, step, baseLr), lr),
    nextChange: (step, lr) =>
      parts.reduce((first, part) => Math.min(first, nextChange(part, step, lr)), Infinity),
    lastReset: (step) => parts.reduce((last, part) => Math.max(last, lastReset(part, step)), 0),
  });
}

function restart(part: Recurrence, baseLr: number, lr: number): number {
  return part.restart?.(baseLr, lr) ?? part.first(baseLr, baseLr);
}

function checkParts(schedules: unknown): Recurrence[] {
  checkArray("use schedules", schedules, "they");
  if (schedules.length === 0) {
    throw new RangeError(cannot("use schedules", "there must be at least one", "there are 0"));
  }
  return (schedules as Schedule[]).map((schedule, i) => {
    if (typeof schedule !== "function") {
      throw wrongType(`use schedules[${i}]`, "it must be a schedule", schedule);
    }
    if (schedule.momentum !== undefined) {
      throw new TypeError(
        cannot(
          `use schedules[${i}]`,
          "it moves momentum, which others do not",
          "set cycleMomentum to false",
        ),
      );
    }
    return recurrenceOf(schedule);
  });
}

function checkFit(count: number, milestones: readonly number[]): void {
  if (milestones.length !== count - 1) {
    throw new RangeError(
      cannot(
        "set milestones",
        `there must be ${count - 1}, one fewer than schedules`,
        `there are ${milestones.length}`,
      ),
    );
  }
  if (milestones.some((step, i) => i > 0 && step < milestones[i - 1])) {
    const shown = `[${milestones.join(", ")}]`;
    throw new RangeError(refusal("set milestones", "they must not descend", shown));
  }
}
