/** Which data the corrections of a table belong to: with other data they count as 0. */

import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { fillAll } from "../core/intrinsics.ts";
import type { Parameter } from "../core/parameter.ts";
import { CORRECTION_IS_STALE } from "./marks.ts";
import type { TensorTable } from "./tensor_table.ts";

/** The corrections of the rows of a table. */
export class Corrections {
  /** The data that the correction of each parameter belongs to. */
  readonly #datas = new WeakMap<Parameter<Tensor>, Tensor>();
  /** Whether a row has a correction that belongs to other data. */
  #isAnyStale = false;
  readonly #table: TensorTable;

  constructor(table: TensorTable) {
    this.#table = table;
  }

  /** Whether the correction of a parameter belongs to these data. */
  isOf(parameter: Parameter<Tensor>, data: Tensor): boolean {
    return this.#datas.get(parameter) === data;
  }

  /** A row's correction belongs to the data that the row has. */
  settle(row: number): void {
    const table = this.#table;
    if (table.isSplit) this.#datas.set(table.parameterAt(row), table.datas[row]);
  }

  /** Sees whether a correction belongs to other data than the row has. */
  check(row: number): void {
    const table = this.#table;
    if (!table.isSplit) return;
    table.unmark(row, CORRECTION_IS_STALE);
    if (this.#isCurrent(row)) return;
    table.mark(row, CORRECTION_IS_STALE);
    this.#isAnyStale = true;
  }

  #isCurrent(row: number): boolean {
    return this.isOf(this.#table.parameterAt(row), this.#table.datas[row]);
  }

  /** Whether corrections of a row may belong to other data. */
  get isAnyStale(): boolean {
    return this.#isAnyStale;
  }

  /** Fills corrections of rows that are stepped with zeros if they belong to other data. */
  resetStale(): void {
    if (this.#isAnyStale) this.#resetAll();
  }

  #resetAll(): void {
    const table = this.#table;
    for (let row = 0; row < table.count; row++) {
      if (!table.has(row, CORRECTION_IS_STALE)) continue;
      table.unmark(row, CORRECTION_IS_STALE);
      // It was marked for a step that was not taken, perhaps with other data than this one's.
      if (table.gradientKind(row) === "none" || this.#isCurrent(row)) continue;
      fillAll(table.correctionAt(row) as unknown as HostArray, 0);
      this.settle(row);
    }
    this.#isAnyStale = false;
  }
}
