/** The class that moves the groups of an optimizer along schedules. */

import { describe } from "../parameter.ts";
import { readSchedulerDict } from "../state/scheduler_dict.ts";
import type { LRSchedulerStateDict } from "../state/scheduler_dict.ts";
import { checkLength, Groups, perGroup } from "./groups.ts";
import type { ScheduledOptimizer } from "./groups.ts";
import { recurrenceOf } from "./schedule.ts";
import type { Recurrence, Schedule } from "./schedule.ts";

/** A schedule as a group follows it. */
interface Course extends Recurrence {
  readonly momentum?: (step: number) => number;
}

/**
 * Sets the learning rate of each group of an optimizer by a schedule, from step to step as torch's
 * schedulers do: the numbers are those of torch, and so is what happens to a learning rate that is
 * assigned between two steps (schedules that multiply go on from it, the others override it).
 *
 * @example One step per epoch
 * ```ts
 * import { LRScheduler, SGD, stepLR } from "@descent/sgd";
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
 * import { cosineAnnealingLR, loadState, LRScheduler, saveState, SGD } from "@descent/sgd";
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
 */
export class LRScheduler {
  readonly #groups: Groups;
  readonly #courses: readonly Course[];
  #baseLrs: readonly number[];
  #lastLr: readonly number[];
  #lastEpoch = 0;

  /**
   * Takes the groups' learning rates as their base, and sets those of step 0.
   *
   * @param optimizer The optimizer.
   * @param schedule A schedule for all groups, or one for each, in order.
   * @throws {TypeError} If something is of another type.
   * @throws {RangeError} If there are not as many schedules as groups, or a schedule gives a value
   * that is out of range.
   */
  constructor(optimizer: ScheduledOptimizer, schedule: Schedule | readonly Schedule[]) {
    this.#groups = new Groups(optimizer);
    this.#courses = perGroup("schedule", schedule, this.#groups.count).map(toCourse);
    this.#baseLrs = this.#lastLr = this.#groups.lrs();
    const first = ({ first }: Course, lr: number) => first(lr, lr);
    this.#set(0, this.#courses.map((course, i) => first(course, this.#baseLrs[i])));
  }

  /**
   * Sets what the next step of the schedules says; call it after the optimizer's own step. If it
   * throws, nothing has changed.
   *
   * @throws {TypeError} If a schedule gives no number.
   * @throws {RangeError} If a schedule gives a value that is out of range, or has no such step, or if
   * groups were added.
   */
  step(): void {
    const step = this.#lastEpoch + 1;
    const lrs = this.#groups.lrs();
    this.#set(step, this.#courses.map(({ next }, i) => next(lrs[i], step, this.#baseLrs[i])));
  }

  /** The step that the schedules have come to, counted from 0. */
  get lastEpoch(): number {
    return this.#lastEpoch;
  }

  /** The learning rate of each group, as last set here. */
  get lastLr(): number[] {
    return [...this.#lastLr];
  }

  /** The learning rate that each group started with. */
  get baseLrs(): number[] {
    return [...this.#baseLrs];
  }

  /**
   * The state under torch's names, with the learning rates as they are now. The schedules are no
   * part of it.
   *
   * @throws {RangeError} If groups were added.
   */
  stateDict(): LRSchedulerStateDict {
    return {
      last_epoch: this.#lastEpoch,
      base_lrs: this.baseLrs,
      _last_lr: this.#groups.lrs(),
    };
  }

  /**
   * Goes on from a state, whether the optimizer's own was loaded before or will be after: the groups
   * get the learning rates of the state, and the momentum that their schedule says.
   *
   * Keys that Descent does not know are left out. If it throws, nothing has changed.
   *
   * @param dict The state, of Descent or of torch.
   * @throws {TypeError} If it is not valid.
   * @throws {RangeError} If it is of another number of groups, or a learning rate is out of range.
   *
   * @example
   * ```ts
   * import { exponentialLR, LRScheduler, SGD } from "@descent/sgd";
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
    const required = ["last_epoch", "base_lrs", "_last_lr"];
    const { last_epoch, base_lrs, _last_lr } = readSchedulerDict(dict, required);
    checkLength("base_lrs", base_lrs!, this.#groups.lrs().length);
    checkLength("_last_lr", _last_lr, this.#groups.count);
    this.#set(last_epoch, _last_lr);
    this.#baseLrs = [...base_lrs!];
  }

  #set(step: number, lrs: readonly number[]): void {
    const momenta = this.#courses.map(({ momentum }) => momentum?.(step));
    this.#groups.set(lrs.map((lr, i) => ({ lr, momentum: momenta[i] })));
    this.#lastLr = [...lrs];
    this.#lastEpoch = step;
  }
}

function toCourse(schedule: unknown): Course {
  if (typeof schedule !== "function") {
    throw new TypeError(
      `Cannot use schedule as it must be a schedule or one for each group: current value is ${
        describe(schedule)
      }`,
    );
  }
  const { momentum } = schedule as Schedule;
  if (momentum !== undefined && typeof momentum !== "function") {
    throw new TypeError(
      `Cannot use momentum of the schedule as it must be a function: current value is ${
        describe(momentum)
      }`,
    );
  }
  return { ...recurrenceOf(schedule as Schedule), momentum };
}
