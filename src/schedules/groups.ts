/** The groups that a scheduler sets, and the learning rates that its schedules start from. */

import { baseForEarlier, initialLrOf, markScheduled, settleInitialLr } from "../core/initial_lr.ts";
import { checkHyperparameter, checkInitialLr } from "../core/hyperparameters.ts";
import { cannot, wrongType } from "../core/validate.ts";
import type { LRSchedulerStateDict } from "../state/extras.ts";
import { stateSourceOf } from "../state/source.ts";

/**
 * An optimizer, as schedulers see it: `SGD`, or anything with such groups.
 *
 * @category Schedules
 */
export interface ScheduledOptimizer {
  /** The groups, in order: the same objects at every access, and added ones at the end. */
  readonly paramGroups: readonly { lr: number; momentum: number; readonly initialLr?: number }[];
}

/** What a scheduler sets in a group. */
export interface Setting {
  readonly group: ScheduledGroup;
  readonly lr: number;
  readonly momentum?: number;
  /** The learning rate that its schedules start from there; absent of a plateau. */
  readonly base?: number;
}

/** One of its groups. */
export type ScheduledGroup = ScheduledOptimizer["paramGroups"][number];

/**
 * The groups of an optimizer: those that it has at the time, as groups may be added. A base is taken
 * when the scheduler is made or first sets a group that was added; from then on only a state that the
 * scheduler loads changes it, as in torch.
 */
export class Groups {
  /** The optimizer that the groups are of. */
  readonly optimizer: ScheduledOptimizer;
  readonly #bases = new WeakMap<ScheduledGroup, number>();
  /** The learning rates that were last set. */
  readonly #lastLrs = new WeakMap<ScheduledGroup, number>();
  #revision = 0;

  /**
   * Looks at the groups of an optimizer.
   *
   * @throws {TypeError} If it is not an optimizer.
   */
  constructor(optimizer: ScheduledOptimizer) {
    if (!Array.isArray((optimizer as Partial<ScheduledOptimizer> | null)?.paramGroups)) {
      throw wrongType("schedule", "there must be an optimizer", optimizer);
    }
    this.optimizer = optimizer;
  }

  /** The groups as they are now. */
  get list(): readonly ScheduledGroup[] {
    return this.optimizer.paramGroups;
  }

  /** A counter of the settings, which shows whether the groups have been set since. */
  get revision(): number {
    return this.#revision;
  }

  /** The learning rates as they are now. */
  lrs(): number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }

  /** The learning rates as last set; those of groups that were added since are not among them. */
  lastLrs(): number[] {
    return this.list.flatMap((group) => this.#lastLrs.get(group) ?? []);
  }

  /** Takes the learning rates as they are now for the ones that were last set. */
  recordLrs(): void {
    for (const group of this.list) this.#lastLrs.set(group, group.lr);
  }

  /** How often the optimizer has stepped; null if that is not known. */
  get steps(): number | null {
    return stateSourceOf(this.optimizer)?.steps() ?? null;
  }

  /** The bases for a scheduler that is made at this time. */
  initialLrs(): number[] {
    return this.optimizer.paramGroups.map(initialLrOf);
  }

  /** The learning rates that the schedules start from. */
  bases(): number[] {
    return this.list.map((group) => this.baseOf(group));
  }

  /** The learning rate that the schedule of a group starts from. */
  baseOf(group: ScheduledGroup): number {
    return this.#bases.get(group) ?? baseForEarlier(group);
  }

  /**
   * Sets groups, or none if a value is not valid.
   *
   * @throws {TypeError} If a value is not a number.
   * @throws {RangeError} If a value is negative, infinite or NaN.
   */
  set(settings: readonly Setting[]): void {
    for (const { lr, momentum, base } of settings) {
      checkHyperparameter("lr", lr);
      if (momentum !== undefined) checkHyperparameter("momentum", momentum);
      if (base !== undefined) checkInitialLr(base);
    }
    this.#revision++;
    for (const { group, lr, momentum, base } of settings) {
      if (base !== undefined) this.#bases.set(group, base);
      group.lr = lr;
      this.#lastLrs.set(group, lr);
      if (momentum !== undefined) group.momentum = momentum;
    }
  }

  /** Settles the bases of some groups for later schedulers: those of this one. It sets all groups. */
  settle(groups: readonly ScheduledGroup[]): void {
    for (const group of groups) settleInitialLr(group, this.#bases.get(group)!);
    for (const group of this.list) markScheduled(group);
  }
}

/**
 * Checks the number of groups in a scheduler's state. There may be fewer bases than learning rates, as
 * torch takes none of groups that are added.
 *
 * @throws {RangeError} If there are none, or more bases than learning rates.
 */
export function checkCounts({ _last_lr, base_lrs = [] }: LRSchedulerStateDict): void {
  if (_last_lr.length === 0) {
    throw new RangeError(cannot("set _last_lr", "there must be one for each group", "there are 0"));
  }
  if (base_lrs.length > _last_lr.length) {
    throw new RangeError(
      cannot(
        "set base_lrs",
        `there must be at most ${_last_lr.length}, like _last_lr`,
        `there are ${base_lrs.length}`,
      ),
    );
  }
}
