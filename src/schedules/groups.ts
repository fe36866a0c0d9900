/** The groups of the optimizer that a scheduler sets. */

import { initialLrOf, settleScheduled } from "../core/initial_lr.ts";
import { checkHyperparameter, checkInitialLr } from "../core/hyperparameters.ts";
import { wrongType } from "../core/validate.ts";
import { placesOf } from "../state/extras.ts";
import type { LRSchedulerStateDict } from "../state/extras.ts";

/**
 * An optimizer, as far as schedulers go: `SGD`, or anything with such groups.
 *
 * @category Schedules
 */
export interface ScheduledOptimizer {
  /** The groups, in order: the same objects at every access, and added ones at the end. */
  readonly paramGroups: readonly { lr: number; momentum: number; readonly initialLr?: number }[];
}

/** What a scheduler sets in a group. */
export interface Setting {
  readonly lr: number;
  readonly momentum?: number;
  /** The learning rate that the group's schedules start from. */
  readonly initialLr?: number;
}

/** The groups of an optimizer: those that it has at the time, as groups may be added. */
export class Groups {
  readonly #optimizer: ScheduledOptimizer;

  /**
   * Looks at the groups of an optimizer.
   *
   * @throws {TypeError} If it is no optimizer.
   */
  constructor(optimizer: ScheduledOptimizer) {
    if (!Array.isArray((optimizer as Partial<ScheduledOptimizer> | null)?.paramGroups)) {
      throw wrongType("schedule", "there must be an optimizer", optimizer);
    }
    this.#optimizer = optimizer;
  }

  /** How many there are. */
  get count(): number {
    return this.#optimizer.paramGroups.length;
  }

  /** The learning rates as they are now. */
  lrs(): number[] {
    return this.#optimizer.paramGroups.map(({ lr }) => lr);
  }

  /** The learning rates that schedules start from. */
  initialLrs(): number[] {
    return this.#optimizer.paramGroups.map(initialLrOf);
  }

  /** The place of each group in the lists of a scheduler's state; -1 for one that is not in it. */
  placesIn(dict: object): number[] {
    return placesOf(dict, this.#optimizer.paramGroups);
  }

  /**
   * Sets all groups, or none if a value is not valid.
   *
   * @throws {TypeError} If a value is no number.
   * @throws {RangeError} If a value is negative, infinite or NaN.
   */
  set(settings: readonly Setting[]): void {
    for (const { lr, momentum, initialLr } of settings) {
      checkHyperparameter("lr", lr);
      if (momentum !== undefined) checkHyperparameter("momentum", momentum);
      if (initialLr !== undefined) checkInitialLr(initialLr);
    }
    for (const [i, { lr, momentum, initialLr }] of settings.entries()) {
      const group = this.#optimizer.paramGroups[i];
      if (initialLr !== undefined) settleScheduled(group, initialLr);
      group.lr = lr;
      if (momentum !== undefined) group.momentum = momentum;
    }
  }
}

/**
 * Checks how many groups a scheduler's state is of. There may be fewer bases than learning rates, as
 * torch takes none of groups that are added.
 *
 * @throws {RangeError} If there are none, or more bases than learning rates.
 */
export function checkCounts({ _last_lr, base_lrs = [] }: LRSchedulerStateDict): void {
  if (_last_lr.length === 0) {
    throw new RangeError("Cannot set _last_lr as there must be one for each group: there are 0");
  }
  if (base_lrs.length > _last_lr.length) {
    throw new RangeError(
      `Cannot set base_lrs as there must be at most ${_last_lr.length}, like _last_lr: ` +
        `there are ${base_lrs.length}`,
    );
  }
}
