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

/** An item for each group: one for all, or a list that grows with the groups. An item stays with its group. */
export class PerGroup<T> {
  readonly #what: Extension;
  /** The item of all groups; absent where each has its own. */
  readonly #shared: { readonly item: T } | null;
  readonly #own = new WeakMap<object, { readonly item: T }>();

  /**
   * Takes one item for all groups, or a list with one for each.
   *
   * @param groups The groups, in order.
   * @param check Makes an item of what was given.
   * @throws {RangeError} If a list has another length than there are groups.
   */
  constructor(
    what: Extension,
    given: unknown,
    groups: readonly object[],
    check: (item: unknown) => T,
  ) {
    this.#what = what;
    this.#shared = Array.isArray(given) ? null : { item: check(given) };
    if (!Array.isArray(given)) return;
    const list: unknown[] = [...given];
    if (list.length !== groups.length) {
      throw new RangeError(
        cannot(
          `set ${what.one}`,
          `there must be ${groups.length}, one for each group`,
          `there are ${list.length}`,
        ),
      );
    }
    for (const [i, item] of list.map(check).entries()) this.#own.set(groups[i], { item });
  }

  /** The item of a group, if there is one. */
  at(group: object): T | undefined {
    return this.#find(group)?.item;
  }

  /** The item of all groups, or a list of those that the groups have. */
  given(groups: readonly object[]): T | readonly T[] {
    if (this.#shared !== null) return this.#shared.item;
    return groups.flatMap((group) => this.#own.get(group) ?? []).map(({ item }) => item);
  }

  #find(group: object): { readonly item: T } | undefined {
    return this.#shared ?? this.#own.get(group);
  }

  /**
   * The items of all groups.
   *
   * @throws {RangeError} If a group has none.
   */
  all(groups: readonly object[]): readonly T[] {
    const found = groups.flatMap((group) => this.#find(group) ?? []);
    if (found.length === groups.length) return found.map(({ item }) => item);
    const { name, one, method } = this.#what;
    throw new RangeError(
      cannot(
        "step",
        `each group must have a ${one}`,
        `there are ${groups.length} groups and ${found.length} ${name}. A group that was added ` +
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
  add(item: T, groups: readonly object[]): void {
    const { name, one } = this.#what;
    if (this.#shared !== null) {
      throw new TypeError(
        cannot(
          `add a ${one}`,
          `the scheduler must have a list of ${name}`,
          "it has one for all groups, including added ones",
        ),
      );
    }
    const group = groups.find((group) => this.#find(group) === undefined);
    if (group !== undefined) return void this.#own.set(group, { item });
    throw new RangeError(
      cannot(
        `add a ${one}`,
        "there must be a group without one",
        `there are ${groups.length} groups and ${groups.length} ${name}; add the group first`,
      ),
    );
  }
}
