/** The parameters of groups: ranges of those of the optimizer, which are listed when they are read. */

import type { Tensor } from "../core/dtype.ts";
import type { Parameter } from "../core/parameter.ts";

/** The parameters of one group. */
export class Members {
  #list: readonly Parameter<Tensor>[] | null = null;
  readonly #all: () => readonly Parameter<Tensor>[];
  #first: number;
  #end: number;

  /**
   * @param all All parameters of the optimizer.
   * @param first The first one of the group.
   * @param end The one after its last.
   */
  constructor(all: () => readonly Parameter<Tensor>[], first: number, end: number) {
    this.#all = all;
    this.#first = first;
    this.#end = end;
  }

  /** The list, the same at every access until it changes. */
  get list(): readonly Parameter<Tensor>[] {
    return this.#list ??= Object.freeze(this.#all().slice(this.#first, this.#end));
  }

  /** Keeps the list, whatever becomes of the optimizer's. */
  hold(): void {
    this.#list = this.list;
  }

  /**
   * Follows the parameters of the optimizer into another order.
   *
   * @param isSame Whether they are those that the group had.
   */
  place(first: number, end: number, isSame: boolean): void {
    if (!isSame) this.#list = null;
    this.#first = first;
    this.#end = end;
  }
}

const membersOf = new WeakMap<object, Members>();

/** Gives a group its parameters. */
export function setMembers(group: object, members: Members): void {
  membersOf.set(group, members);
}

/** The rows of groups before and after a change. */
interface Change {
  /** For each row, the row that it was. */
  readonly rows: readonly number[];
  /** For each group, the group that it was. */
  readonly groups: readonly number[];
  /** The row after the last one of each group. */
  readonly ends: readonly number[];
}

/**
 * Lets groups follow their parameters into another order, before the optimizer has it. A group that is
 * left out keeps its list.
 *
 * @param before The groups that there are.
 * @param ends The row after the last one of each.
 * @returns The groups that stay, in order.
 */
export function placeGroups<G extends object>(
  before: readonly G[],
  ends: readonly number[],
  change: Change,
): readonly G[] {
  const isLeftOut = (_: G, i: number) => !change.groups.includes(i);
  for (const group of before.filter(isLeftOut)) membersOf.get(group)!.hold();
  return Object.freeze(change.groups.map((was, i) => {
    const [first, end] = [change.ends[i - 1] ?? 0, change.ends[i]];
    const [firstBefore, endBefore] = [ends[was - 1] ?? 0, ends[was]];
    const isSame = end - first === endBefore - firstBefore &&
      change.rows.slice(first, end).every((row, k) => row === firstBefore + k);
    membersOf.get(before[was])!.place(first, end, isSame);
    return before[was];
  }));
}
