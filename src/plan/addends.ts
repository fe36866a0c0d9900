/** The gradients that a step adds to those of the parameters, and the table of their addresses. */

import { checkMatches, matchesSpec } from "../core/array_checks.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { cannot, refusal } from "../core/validate.ts";
import { assertUnlocked, hasLocks } from "../memory/locks.ts";
import { createSpans } from "../memory/overlap.ts";
import type { Spans } from "../memory/overlap.ts";
import { writeWord } from "./layout.ts";
import type { AddedGradients } from "./layout.ts";
import type { TensorTable } from "./tensor_table.ts";

/** Lists of gradients, each in the order of all parameters; null stands for none. */
export type GradientLists = readonly (readonly (HostArray | null)[])[];

/** One gradient of the lists. */
interface Addend {
  readonly array: HostArray;
  readonly list: number;
  readonly row: number;
}

/** What one step adds to its gradients. Most steps add nothing, and this is empty. */
export class Addends implements AddedGradients {
  lists: GradientLists = [];
  words: BigUint64Array<ArrayBuffer> = new BigUint64Array(0);
  /** All gradients of the lists. */
  #all: readonly Addend[] = [];
  readonly #table: TensorTable;
  readonly #address: (array: HostArray) => number;

  constructor(table: TensorTable, address: (array: HostArray) => number) {
    this.#table = table;
    this.#address = address;
  }

  /** How many gradients can be added to that of a row. */
  get count(): number {
    return this.lists.length;
  }

  /** All arrays, in no order. */
  get arrays(): readonly HostArray[] {
    return this.#all.map(({ array }) => array);
  }

  /** What is added to the gradient of a row, in order; null if that is nothing. */
  of(row: number): readonly HostArray[] | null {
    if (this.lists.length === 0) return null;
    const arrays = this.lists.map((list) => list[row]).filter((array) => array !== null);
    return arrays.length === 0 ? null : arrays;
  }

  /** Drops the lists of a step that has ended. */
  clear(): void {
    if (this.lists.length === 0) return; // a step without lists allocates nothing
    this.lists = [];
    this.#all = [];
  }

  /**
   * Takes the lists of a step, and checks each array as the gradient that it is added to has been
   * checked, but for what it shares memory with.
   *
   * @throws {TypeError} If a gradient is of another type, detached or resizable, or there is none that it
   * could be added to.
   * @throws {RangeError} If a list or a gradient is of another length.
   * @throws {Error} If a step that is running elsewhere uses one of them.
   */
  bind(lists: GradientLists): void {
    this.clear();
    lists.forEach((list, i) => this.#checkCount(list.length, i));
    const all = lists.flatMap((arrays, list) =>
      arrays.flatMap((array, row) => array === null ? [] : [{ array, list, row }])
    );
    for (const addend of all) this.#check(addend);
    this.lists = lists;
    this.#all = all;
    this.words = new BigUint64Array(lists.length * this.#table.count);
    const halves = new Uint32Array(this.words.buffer);
    for (const { array, list, row } of all) {
      writeWord(halves, row * lists.length + list, this.#address(array));
    }
    this.#checkUnlocked();
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

  /** The name of the first array that has been detached since it was checked; null if there is none. */
  findDetached(): string | null {
    if (this.#all.length === 0) return null;
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
