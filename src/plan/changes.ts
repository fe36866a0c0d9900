/**
 * What has changed in a tensor table since it was last compared.
 *
 * The table records each array that it writes into a row. The alias checks settle what was recorded:
 * it counts as checked once the comparison has returned, and stays recorded if that throws. Nobody
 * else can set or clear any of it.
 */

import type { Memory } from "../memory/locks.ts";

/** Rows that one call on another thread steps: `from <= row < to`. */
export interface CallRange {
  readonly from: number;
  readonly to: number;
  /** One array on each buffer that the rows use: what the call keeps alive. */
  readonly pins: readonly ArrayBufferView[];
}

/** The changes of one table. Steps that change no array record nothing and allocate nothing. */
export class Changes {
  /** The rows whose gradients have not been compared with what a step writes. */
  readonly #gradients: number[] = [];
  #isAnyWritten = true;
  #isAnyGradient = true;
  #callRanges: readonly CallRange[] | null = null;
  #memory: Memory | null = null;

  /** A row has lost an array, which cannot make two arrays overlap. */
  recordRemoved(): void {
    this.#callRanges = this.#memory = null;
  }

  /** A row has other data, another momentum buffer or another master weight. */
  recordWritten(): void {
    this.recordRemoved();
    this.#isAnyWritten = true;
  }

  /** A row has another gradient. */
  recordGradient(row: number): void {
    this.recordRemoved();
    this.#isAnyGradient = true;
    if (!this.#isAnyWritten) this.#gradients.push(row); // otherwise all rows are compared
  }

  /** Nothing of the table is known any more. */
  recordAll(): void {
    this.recordWritten();
    this.#isAnyGradient = true;
    this.#gradients.length = 0;
  }

  /**
   * Compares what a step writes with everything else, where something has changed.
   *
   * @param compare Gets the rows whose gradients are new, or null if all rows have to be compared.
   */
  settleWritten(compare: (rows: readonly number[] | null) => void): void {
    if (!this.#isAnyWritten && this.#gradients.length === 0) return;
    compare(this.#isAnyWritten ? null : this.#gradients);
    this.#isAnyWritten = false;
    this.#gradients.length = 0;
  }

  /** Compares the gradients with each other, where one of them has changed. */
  settleGradients(compare: () => void): void {
    if (!this.#isAnyGradient) return;
    compare();
    this.#isAnyGradient = false;
  }

  /** The ranges that `keepCallRanges` was given; null if an array has changed since. */
  get callRanges(): readonly CallRange[] | null {
    return this.#callRanges;
  }

  /** Keeps the ranges in which all rows are stepped until an array changes. */
  keepCallRanges(ranges: readonly CallRange[]): void {
    this.#callRanges = ranges;
  }

  /** The memory that `keepMemory` was given; null if an array has changed since. */
  get memory(): Memory | null {
    return this.#memory;
  }

  /** Keeps the memory of a step until an array changes. */
  keepMemory(memory: Memory): void {
    this.#memory = memory;
  }
}
