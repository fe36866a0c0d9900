/** The groups of the optimizer that a scheduler sets. */

import { checkHyperparameter } from "../options.ts";
import { describe } from "../parameter.ts";

/** An optimizer, as far as schedulers go: `SGD`, or anything with such groups. */
export interface ScheduledOptimizer {
  /** The groups, in order. */
  readonly paramGroups: readonly { lr: number; momentum: number }[];
}

/** What a scheduler sets in a group. */
export interface Setting {
  readonly lr: number;
  readonly momentum?: number;
}

/** The groups of an optimizer, which must have as many as the scheduler knows, if it knows some. */
export class Groups {
  readonly #optimizer: ScheduledOptimizer;
  /** How many there are. */
  readonly count: number;

  /**
   * Looks at the groups as they are now.
   *
   * @throws {TypeError} If it is no optimizer.
   */
  constructor(optimizer: ScheduledOptimizer) {
    if (!Array.isArray((optimizer as Partial<ScheduledOptimizer> | null)?.paramGroups)) {
      throw new TypeError(
        `Cannot schedule as there must be an optimizer: current value is ${describe(optimizer)}`,
      );
    }
    this.#optimizer = optimizer;
    this.count = optimizer.paramGroups.length;
  }

  /**
   * The learning rates as they are now.
   *
   * @throws {RangeError} If the optimizer has other groups than at first.
   */
  lrs(): number[] {
    const { length } = this.#optimizer.paramGroups;
    if (length !== this.count) {
      throw new RangeError(
        `Cannot schedule as the optimizer must have ${this.count} groups, as it had when the ` +
          `scheduler was made: it has ${length}`,
      );
    }
    return this.#optimizer.paramGroups.map(({ lr }) => lr);
  }

  /**
   * Sets all groups, or none if a value is not valid.
   *
   * @throws {TypeError} If a value is no number.
   * @throws {RangeError} If a value is negative, infinite or NaN.
   */
  set(settings: readonly Setting[]): void {
    for (const { lr, momentum } of settings) {
      checkHyperparameter("lr", lr);
      if (momentum !== undefined) checkHyperparameter("momentum", momentum);
    }
    for (const [i, setting] of settings.entries()) {
      const group = this.#optimizer.paramGroups[i];
      group.lr = setting.lr;
      if (setting.momentum !== undefined) group.momentum = setting.momentum;
    }
  }
}

/**
 * Completes a value that may be given once for all groups.
 *
 * @throws {RangeError} If a list has another length.
 */
export function perGroup<T>(name: string, value: T | readonly T[], count: number): readonly T[] {
  if (!Array.isArray(value)) return Array<T>(count).fill(value as T);
  checkLength(name, value, count);
  return [...value];
}

/**
 * Checks that a list has an item for each group.
 *
 * @throws {RangeError} If it has another length.
 */
export function checkLength(name: string, list: readonly unknown[], count: number): void {
  if (list.length === count) return;
  throw new RangeError(
    `Cannot set ${name} as there must be ${count}, one for each group: there are ${list.length}`,
  );
}
