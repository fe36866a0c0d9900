/** Options of schedulers that are one value for all groups, or a list with one for each. */

import { cannot } from "../core/validate.ts";

/** How a list that has an item for each group gets one for a group that is added. */
interface Extension {
  /** What the items are, as errors call them. */
  readonly name: string;
  /** What one of them is called. */
  readonly one: string;
  /** The method that adds one. */
  readonly method: string;
}

/** An item for each group: one for all, or a list that grows with the groups. */
export class PerGroup<T> {
  readonly #what: Extension;
  readonly #items: T[];
  readonly #isShared: boolean;

  /**
   * Takes one item for all groups, or a list with one for each.
   *
   * @param check Makes an item of what was given.
   * @throws {RangeError} If a list has another length than there are groups.
   */
  constructor(what: Extension, given: unknown, count: number, check: (item: unknown) => T) {
    this.#what = what;
    this.#isShared = !Array.isArray(given);
    const list: unknown[] = this.#isShared ? [given] : [...given as unknown[]];
    if (!this.#isShared && list.length !== count) {
      throw new RangeError(
        cannot(
          `set ${what.one}`,
          `there must be ${count}, one for each group`,
          `there are ${list.length}`,
        ),
      );
    }
    this.#items = list.map(check);
  }

  /** The item of a group, if there is one. */
  at(i: number): T | undefined {
    return this.#items[this.#isShared ? 0 : i];
  }

  /**
   * The items of all groups.
   *
   * @throws {RangeError} If a group has none.
   */
  all(count: number): readonly T[] {
    if (this.#isShared) return Array<T>(count).fill(this.#items[0]);
    if (this.#items.length === count) return this.#items;
    const { name, one, method } = this.#what;
    throw new RangeError(
      cannot(
        "step",
        `each group must have a ${one}`,
        `there are ${count} groups and ${this.#items.length} ${name}. A group that was added ` +
          `gets its own by ${method}`,
      ),
    );
  }

  /**
   * Adds the item of the first group that has none.
   *
   * @throws {TypeError} If there is one for all groups.
   * @throws {RangeError} If every group has one.
   */
  add(item: T, count: number): void {
    const { name, one } = this.#what;
    if (this.#isShared) {
      throw new TypeError(
        cannot(
          `add a ${one}`,
          `the scheduler must have a list of ${name}`,
          "it has one for all groups, including added ones",
        ),
      );
    }
    if (this.#items.length >= count) {
      throw new RangeError(
        cannot(
          `add a ${one}`,
          "there must be a group without one",
          `there are ${count} groups and ${this.#items.length} ${name}; add the group first`,
        ),
      );
    }
    this.#items.push(item);
  }
}
