/** The class that moves the groups of an optimizer along schedules. */

import { settledInitialLr } from "../core/initial_lr.ts";
import { printContents } from "../core/printing.ts";
import { checkBoolean, checkNumber, checkOptions, WHOLE, wrongType } from "../core/validate.ts";
import { readSchedulerDict } from "../state/extras.ts";
import type { LRSchedulerStateDict } from "../state/extras.ts";
import { checkCounts, Groups } from "./groups.ts";
import type { ScheduledGroup, ScheduledOptimizer } from "./groups.ts";
import { PerGroup } from "./per_group.ts";
import { restoreGroups } from "./restore.ts";
import { initialLrFor, recurrenceOf } from "./schedule.ts";
import type { Recurrence, Schedule } from "./schedule.ts";
import { StepOrder } from "./step_order.ts";

/**
 * The options of `new LRScheduler(optimizer, schedule, options)`.
 *
 * @category Schedules
 */
export interface LRSchedulerOptions {
  /**
   * Whether the scheduler warns with `console.warn`, once, if its first `step()` comes before the first
   * step of the optimizer: the first learning rate of the schedule is never used then. Optimizers that
   * are not an `SGD` do not say whether they have stepped, and there is no warning.
   * @default {true}
   */
  warn?: boolean;
}

/** A schedule as a group follows it. */
interface Course {
  readonly schedule: Schedule;
  readonly recurrence: Recurrence;
  readonly momentum?: (step: number) => number;
}

const SCHEDULES = { name: "schedules", one: "schedule", method: "addSchedule(schedule)" };

/**
 * Sets the learning rate of each group of an optimizer by a schedule, from step to step as torch's
 * schedulers do: the numbers are those of torch, and so is what happens to a learning rate that is
 * assigned between two steps (schedules that multiply continue from it, the others override it).
 *
 * The base of a schedule is the group's `initialLr`, so several schedulers of one optimizer, or a new
 * one on an optimizer whose state was loaded, start from the same learning rate. A scheduler takes the
 * bases when it is made; a later one with `oneCycleLR`, or a state that the optimizer loads, changes
 * them for schedulers that are made after that. A group that is added later is set from the next step
 * on: schedules that multiply continue from its `lr`, and for the others the `lr` that it was added
 * with is the base. When a group is removed, those that stay keep their schedules and bases.
 *
 * @example One step per epoch
 * ```ts
 * import { SGD } from "@descent/sgd";
 * import { LRScheduler, stepLR } from "@descent/sgd/schedules";
 *
 * const w = { data: new Float32Array(1), grad: new Float32Array(1) };
 * const optimizer = new SGD([w], { lr: 1 });
 * const scheduler = new LRScheduler(optimizer, stepLR({ stepSize: 2, gamma: 0.5 }));
 * for (let epoch = 0; epoch < 4; epoch++) {
 *   optimizer.step(); // with lr 1, 1, 0.5, 0.5
 *   scheduler.step();
 * }
 * console.log(optimizer.paramGroups[0].lr, scheduler.lastEpoch); // 0.25 4
 * ```
 *
 * @example In a checkpoint
 * ```ts
 * import { loadState, saveState, SGD } from "@descent/sgd";
 * import { cosineAnnealingLR, LRScheduler } from "@descent/sgd/schedules";
 *
 * const w = { data: new Float32Array(1), grad: new Float32Array(1) };
 * const optimizer = new SGD([w], { lr: 1 });
 * const scheduler = new LRScheduler(optimizer, cosineAnnealingLR({ tMax: 100 }));
 * const path = await Deno.makeTempFile();
 * await saveState(path, optimizer, { scheduler });
 *
 * const dict = await loadState(path);
 * optimizer.loadStateDict(dict);
 * scheduler.loadStateDict(dict.lr_scheduler!);
 * ```
 *
 * @category Schedules
 */
export class LRScheduler {
  readonly #groups: Groups;
  readonly #courses: PerGroup<Course>;
  readonly #order: StepOrder;
  #lastEpoch = 0;

  /**
   * Sets the learning rates of step 0. If it throws, nothing has changed.
   *
   * The groups' `initialLr` is the base, and stays from here on; `oneCycleLR` makes it
   * `maxLr / divFactor`, as in torch. Groups that were added after another scheduler was made start
   * from their `lr`, as in torch.
   *
   * @param optimizer The optimizer.
   * @param schedule A schedule for all groups, also those that are added later, or a list with one
   * for each, in order.
   * @param options Whether the scheduler warns of a wrong order of steps.
   * @throws {TypeError} If something is of another type.
   * @throws {RangeError} If there are not as many schedules as groups, or a schedule gives a value
   * that is out of range.
   */
  constructor(
    optimizer: ScheduledOptimizer,
    schedule: Schedule | readonly Schedule[],
    options: LRSchedulerOptions = {},
  ) {
    const groups = this.#groups = new Groups(optimizer);
    const { warn = true } = readOptions(options);
    const list = [...groups.list];
    this.#courses = new PerGroup(SCHEDULES, schedule, list, toCourse);
    const courses = this.#courses.all(list);
    const initialLrs = groups.initialLrs();
    const starts = courses.map(({ schedule }) => initialLrFor(schedule));
    const bases = list.map((_, i) => starts[i]?.lr ?? initialLrs[i]);
    // A start that is a default leaves a settled one, and torch begins there.
    const isKept = list.map((group, i) =>
      starts[i]?.isDefault === true && settledInitialLr(group) !== undefined
    );
    const lrs = courses.map(({ recurrence }, i) =>
      isKept[i] ? initialLrs[i] : recurrence.first(list[i].lr, initialLrs[i])
    );
    this.#set(0, list, lrs, bases);
    groups.settle(list.filter((_, i) => !isKept[i]));
    this.#order = new StepOrder(groups, warn);
    printContents(this, "LRScheduler", () => {
      const { lastEpoch, lastLr, baseLrs } = this;
      return { lastEpoch, lastLr, baseLrs };
    });
  }

  /**
   * Sets the learning rates of the next step; call it after the optimizer's own step. If it
   * throws, nothing has changed. It warns, once, if it is called before the optimizer has stepped, as
   * torch does.
   *
   * @throws {TypeError} If a schedule gives no number.
   * @throws {RangeError} If a schedule gives a value that is out of range, or has no such step, or if
   * a group was added that has no schedule: `addSchedule` gives it one.
   */
  step(): void {
    this.#order.check();
    const step = this.#lastEpoch + 1;
    const list = [...this.#groups.list];
    const bases = this.#groups.bases();
    const lrs = this.#courses.all(list).map(({ recurrence }, i) =>
      recurrence.next(list[i].lr, step, bases[i])
    );
    this.#set(step, list, lrs, bases);
  }

  /**
   * Moves to a step of the schedules, forwards or backwards: the learning rate of each group becomes
   * `schedule(step, baseLr)` with its base, the group's `initialLr`, whatever it was before. The next
   * `step()` continues from there. If it throws, nothing has changed.
   *
   * @param step The step, counted from 0: a whole number.
   * @throws {TypeError} If it is not a number, or a schedule gives none.
   * @throws {RangeError} If it is not whole or negative, or as for `step()`.
   *
   * @example Prolong a run whose cosine has ended
   * ```ts
   * import { SGD } from "@descent/sgd";
   * import { cosineAnnealingLR, LRScheduler } from "@descent/sgd/schedules";
   *
   * const w = { data: new Float32Array(1), grad: new Float32Array(1) };
   * const optimizer = new SGD([w], { lr: 1 });
   * const finished = new LRScheduler(optimizer, cosineAnnealingLR({ tMax: 4 }));
   * for (let epoch = 0; epoch < 4; epoch++) {
   *   optimizer.step();
   *   finished.step();
   * }
   * console.log(finished.lastLr); // [ 0 ]
   *
   * const scheduler = new LRScheduler(optimizer, cosineAnnealingLR({ tMax: 8 }));
   * scheduler.stepTo(finished.lastEpoch);
   * console.log(scheduler.lastLr[0].toFixed(3)); // 0.500
   * ```
   */
  stepTo(step: number): void {
    checkNumber("step", step, WHOLE);
    const list = [...this.#groups.list];
    const bases = this.#groups.bases();
    const lrs = this.#courses.all(list).map(({ schedule }, i) => schedule(step, bases[i]));
    this.#set(step, list, lrs, bases);
    this.#order.close();
  }

  /**
   * Gives a group that was added its schedule, where the scheduler was made with one for each group.
   * The group follows it from the next step on.
   *
   * @param schedule The schedule of the first group that has none.
   * @throws {TypeError} If it is not a schedule, or the scheduler has one schedule for all groups.
   * @throws {RangeError} If every group has a schedule.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   * import { exponentialLR, LRScheduler, stepLR } from "@descent/sgd/schedules";
   *
   * const parameter = () => ({ data: new Float32Array(1), grad: new Float32Array(1) });
   * const optimizer = new SGD([parameter()], { lr: 1 });
   * const scheduler = new LRScheduler(optimizer, [stepLR({ stepSize: 10 })]);
   * optimizer.addParamGroup({ params: [parameter()], lr: 0.5 });
   * scheduler.addSchedule(exponentialLR({ gamma: 0.5 }));
   * optimizer.step();
   * scheduler.step();
   * console.log(scheduler.lastLr); // [ 1, 0.25 ]
   * ```
   */
  addSchedule(schedule: Schedule): void {
    this.#courses.add(toCourse(schedule), this.#groups.list);
  }

  /** The current step of the schedules, counted from 0. */
  get lastEpoch(): number {
    return this.#lastEpoch;
  }

  /** The learning rate of each group, as last set here. */
  get lastLr(): number[] {
    return this.#groups.lastLrs();
  }

  /**
   * The learning rate that each group's schedule starts from: the group's `initialLr` when the
   * scheduler was made, or of the state that it has loaded.
   */
  get baseLrs(): number[] {
    return this.#groups.bases();
  }

  /**
   * The state under torch's names, with the learning rates as they are now. The schedules are not
   * part of it.
   */
  stateDict(): LRSchedulerStateDict {
    return {
      last_epoch: this.#lastEpoch,
      base_lrs: this.baseLrs,
      _last_lr: this.#groups.lrs(),
    };
  }

  /**
   * Resumes from a state, whether the optimizer's own was loaded before or will be after: the groups
   * get the learning rates and bases of the state, and the momentum of their schedule. Their
   * `initialLr` becomes the base too, unless the optimizer has loaded a state of its own.
   *
   * A state may be of more or fewer groups, where some were added before or after it was taken: those
   * that are not in it keep what they have. Groups are matched as the optimizer matched them if it
   * loads its own state from the same dict, before or next; those that it does not match keep what
   * they have. Otherwise groups are matched in order.
   *
   * Keys that Descent does not know are left out. If it throws, nothing has changed.
   *
   * @param dict The state, of Descent or of torch.
   * @throws {TypeError} If it is not valid.
   * @throws {RangeError} If it is of no groups, has more bases than learning rates, or one of them is
   * out of range.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   * import { exponentialLR, LRScheduler } from "@descent/sgd/schedules";
   *
   * const w = { data: new Float32Array(1), grad: new Float32Array(1) };
   * const optimizer = new SGD([w], { lr: 1 });
   * const scheduler = new LRScheduler(optimizer, exponentialLR({ gamma: 0.5 }));
   * scheduler.loadStateDict({ last_epoch: 2, base_lrs: [1], _last_lr: [0.25] });
   * scheduler.step();
   * console.log(scheduler.lastEpoch, scheduler.lastLr); // 3 [ 0.125 ]
   * ```
   */
  loadStateDict(dict: LRSchedulerStateDict): void {
    const given = readSchedulerDict(dict, ["last_epoch", "base_lrs", "_last_lr"]);
    checkCounts(given);
    const { last_epoch, base_lrs, _last_lr } = given;
    restoreGroups(
      {
        groups: this.#groups,
        momentumOf: (group) => this.#courses.at(group)?.momentum?.(last_epoch),
      },
      dict,
      { lrs: _last_lr, bases: base_lrs },
    );
    this.#lastEpoch = last_epoch;
    if (last_epoch > 0) this.#order.close();
  }

  #set(
    step: number,
    list: readonly ScheduledGroup[],
    lrs: readonly number[],
    bases: readonly number[],
  ): void {
    const momenta = list.map((group) => this.#courses.at(group)?.momentum?.(step));
    this.#groups.set(
      list.map((group, i) => ({ group, lr: lrs[i], momentum: momenta[i], base: bases[i] })),
    );
    this.#lastEpoch = step;
  }
}

function readOptions(options: LRSchedulerOptions): LRSchedulerOptions {
  checkOptions(options, ["warn"]);
  if (options.warn !== undefined) checkBoolean("warn", options.warn);
  return options;
}

function toCourse(schedule: unknown): Course {
  if (typeof schedule !== "function") {
    throw wrongType("use schedule", "it must be a schedule or one for each group", schedule);
  }
  const { momentum } = schedule as Schedule;
  if (momentum !== undefined && typeof momentum !== "function") {
    throw wrongType("use momentum of the schedule", "it must be a function", momentum);
  }
  return {
    schedule: schedule as Schedule,
    recurrence: recurrenceOf(schedule as Schedule),
    momentum,
  };
}
