/** Sees to it that what a step writes lies apart from everything else that it uses. */

import { gradsOf, isAllApart, spansOfGrads, writtenOf } from "./entry_spans.ts";
import { byteLengthOf } from "./intrinsics.ts";
import type { Written } from "./overlap.ts";
import type { FloatArray } from "./parameter.ts";
import type { SparseTable } from "./sparse.ts";
import type { TensorTable } from "./tensor_table.ts";

/** The checks of one plan, which look only at what has changed. */
export class Apart {
  /** Made where it is needed: it takes a third of the memory of the table. */
  #written: Written | null = null;
  readonly #table: TensorTable;
  readonly #sparse: SparseTable;
  readonly #address: (array: FloatArray) => number;

  constructor(table: TensorTable, sparse: SparseTable, address: (array: FloatArray) => number) {
    this.#table = table;
    this.#sparse = sparse;
    this.#address = address;
  }

  /**
   * Checks data, the optimizer's own arrays, and dense gradients, which may share memory with each
   * other.
   *
   * @throws {RangeError} If others overlap.
   */
  check(): void {
    const { writtenChanged, newGrads } = this.#table;
    if (writtenChanged) {
      this.#written = null;
      if (!isAllApart(this.#table)) this.#compareGrads(writtenOf(this.#table), null);
      this.#table.writtenChanged = false;
    } else if (newGrads.length > 0) {
      this.#compareGrads(this.#written ??= writtenOf(this.#table), newGrads);
    }
    if (newGrads.length > 0) newGrads.length = 0;
  }

  /** Refuses gradients, of some rows or of all, that overlap other memory. */
  #compareGrads(written: Written, rows: readonly number[] | null): void {
    const spans = spansOfGrads(this.#table, rows);
    const at = written.findMeeting(spans);
    if (at < 0) return;
    const name = this.#table.name(rows === null ? at : rows[at], "grad");
    throw written.refusal(spans.starts[at], spans.ends[at], name);
  }

  /**
   * Checks the values of sparse gradients, after `check`.
   *
   * @throws {RangeError} If they overlap what the step writes.
   */
  checkValues(): void {
    this.#compareValues(this.#written ??= writtenOf(this.#table));
  }

  #compareValues(written: Written): void {
    for (const { row, values } of this.#sparse.steps) {
      const start = this.#address(values);
      const end = start + byteLengthOf(values);
      const span = { starts: Float64Array.of(start), ends: Float64Array.of(end) };
      if (written.findMeeting(span) < 0) continue;
      throw written.refusal(start, end, `values of ${this.#table.name(row, "grad")}`);
    }
  }

  /**
   * Checks that gradients can be written: that they share no memory with each other, either.
   *
   * @throws {RangeError} If two of them overlap.
   */
  checkGrads(): void {
    if (!this.#table.gradsChanged && this.#sparse.steps.length === 0) return;
    this.#compareValues(gradsOf(this.#table));
    this.#table.gradsChanged = false;
  }
}
