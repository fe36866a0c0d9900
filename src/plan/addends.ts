/** The gradients that a step adds to those of the parameters, and the table of their addresses. */

import { checkMatches, matchesSpec } from "../core/array_checks.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { cannot, refusal } from "../core/validate.ts";
import { assertUnlocked, hasLocks } from "../memory/locks.ts";
import { createSpans, Written } from "../memory/overlap.ts";
import type { Spans } from "../memory/overlap.ts";
import { gradsOf } from "./aliasing.ts";
import { writeWord } from "./layout.ts";
import type { AddedGradients } from "./layout.ts";
import type { Plan } from "./plan.ts";
import type { TensorTable } from "./tensor_table.ts";

/** Lists of gradients, each in the order of all parameters; null stands for none. */
export type GradientLists = readonly (readonly (HostArray | null)[])[];

/**
 * Takes the gradients that the step of a plan adds to its own, after a refresh. They are the plan's until
 * it gets others.
 *
 * @param isZeroing Whether they are zeroed after the step.
 * @throws {TypeError} If one of them does not fit, or there is no gradient that it could be added to.
 * @throws {RangeError} If a length differs, or one overlaps what the step writes.
 * @throws {Error} If a step that is running elsewhere uses one of them.
 */
export function addGradients(plan: Plan, lists: GradientLists, isZeroing: boolean): void {
  const addends = new Addends(plan.table, plan.stateArrays.memory.address, lists);
  checkAliases(addends, plan, isZeroing);
  plan.addends = addends;
  plan.checkAttached(); // an array can have getters
}

/** Checks that they overlap nothing that the step writes, nor each other if they are written, too. */
function checkAliases(addends: Addends, { table, aliases }: Plan, isZeroing: boolean): void {
  const { spans, nameAt } = addends.spans;
  const refuse = (written: Written) => {
    const at = written.findMeeting(spans);
    if (at >= 0) throw written.refusal(spans.starts[at], spans.ends[at], nameAt(at));
  };
  refuse(aliases.written);
  if (!isZeroing) return;
  refuse(gradsOf(table));
  const list = Array.from(
    spans.starts,
    (start, i) => ({ start, end: spans.ends[i], name: nameAt(i) }),
  );
  new Written(spans, () => list);
}

/** One gradient of the lists. */
interface Addend {
  readonly array: HostArray;
  readonly list: number;
  readonly row: number;
}

/** What one step adds to its gradients. */
class Addends implements AddedGradients {
  readonly words: BigUint64Array<ArrayBuffer>;
  readonly #lists: GradientLists;
  /** All gradients of the lists. */
  readonly #all: readonly Addend[];
  readonly #table: TensorTable;
  readonly #address: (array: HostArray) => number;

  /**
   * Checks each array as the gradient that it is added to has been checked, but for what it shares memory
   * with.
   */
  constructor(table: TensorTable, address: (array: HostArray) => number, lists: GradientLists) {
    this.#table = table;
    this.#address = address;
    this.#lists = lists;
    lists.forEach((list, i) => this.#checkCount(list.length, i));
    this.#all = lists.flatMap((arrays, list) =>
      arrays.flatMap((array, row) => array === null ? [] : [{ array, list, row }])
    );
    for (const addend of this.#all) this.#check(addend);
    this.words = new BigUint64Array(lists.length * table.count);
    const halves = new Uint32Array(this.words.buffer);
    for (const { array, list, row } of this.#all) {
      writeWord(halves, row * lists.length + list, address(array));
    }
    this.#checkUnlocked();
  }

  get count(): number {
    return this.#lists.length;
  }

  get arrays(): readonly HostArray[] {
    return this.#all.map(({ array }) => array);
  }

  of(row: number): readonly HostArray[] | null {
    const arrays = this.#lists.map((list) => list[row]).filter((array) => array !== null);
    return arrays.length === 0 ? null : arrays;
  }

  #checkCount(count: number, list: number): void {
    if (count === this.#table.count) return;
    const needed = `list ${list} must have ${this.#table.count} gradients or nulls, ` +
      "one for each parameter";
    throw new RangeError(refusal("add gradients", needed, count, "length"));
  }

  #check(addend: Addend): void {
    const { array, row } = addend;
    const table = this.#table;
    if (table.grads[row] === null) {
      throw new TypeError(
        cannot(
          `use ${this.name(addend)}`,
          "the parameter must have a gradient that it is added to",
          `${table.name(row, "grad")} is null`,
        ),
      );
    }
    const [dtype, length] = [table.typesAt(row).gradType, table.lengthAt(row)];
    if (matchesSpec(array, dtype, length)) return;
    checkMatches(array, { dtype, length, reason: "like the gradient" }, this.name(addend));
  }

  #checkUnlocked(): void {
    if (!hasLocks()) return;
    for (const addend of this.#all) assertUnlocked(addend.array, () => this.name(addend));
  }

  findDetached(): string | null {
    const gone = this.#all.find(({ array, row }) => lengthOf(array) !== this.#table.lengthAt(row));
    return gone === undefined ? null : this.name(gone);
  }

  /** The memory of all arrays, and what errors call them. */
  get spans(): { readonly spans: Spans; readonly nameAt: (index: number) => string } {
    const all = this.#all;
    const spans = createSpans(all.length);
    all.forEach(({ array, row }, i) => {
      const bytes = this.#table.lengthAt(row) * this.#table.typesAt(row).gradType.bytes;
      if (bytes === 0) return;
      spans.starts[i] = this.#address(array);
      spans.ends[i] = spans.starts[i] + bytes;
    });
    return { spans, nameAt: (index) => this.name(all[index]) };
  }

  /** Such as `grad of parameter 3 ("w") in list 0 of addGradients`. */
  name({ row, list }: Pick<Addend, "row" | "list">): string {
    return `${this.#table.name(row, "grad")} in list ${list} of addGradients`;
  }
}
