/** The sums of a rank's own gradients, which a step in a world exchanges in the place of the gradients. */

import type { Backend } from "../backends/backend.ts";
import { FLOAT32 } from "../core/dtype.ts";
import type { ElementType } from "../core/dtype.ts";
import type { Exchange } from "../core/exchange.ts";
import { bufferTypeOf } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { FORMAT_GRAD_F32, GRAD, KIND, ROW, writeWord } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";

/** Bytes to whose multiples sums are aligned. */
const LINE = 64;

/** Where the sum of a row is. */
interface Place {
  readonly row: number;
  /** Bytes before it. */
  readonly offset: number;
  /** Whether its gradient is of a 16-bit type, and it is float32. */
  readonly isWidened: boolean;
}

/**
 * Adds what `addGradients` lists to the gradients of this rank before they are exchanged, in memory that
 * is kept from step to step. As in one process, each sum is rounded to the type that is computed in:
 * those of 16-bit gradients are therefore float32, unless every operation rounds.
 */
export class AddedSums {
  readonly #exchange: Exchange;
  readonly #backend: Backend;
  readonly #precision: Precision;
  #memory: Uint32Array<ArrayBuffer> | null = null;
  /** Those of the current step. */
  #places: readonly Place[] = [];

  constructor(exchange: Exchange, backend: Backend, precision: Precision) {
    this.#exchange = exchange;
    this.#backend = backend;
    this.#precision = precision;
  }

  /** The memory of the sums; null if the current step has none. */
  get memory(): ArrayBufferView | null {
    return this.#places.length === 0 ? null : this.#memory;
  }

  /** Adds up the gradients of a plan. Rows to whose gradients nothing is added have no sum. */
  put(plan: Plan): void {
    const { addends, rows, table: { count } } = plan;
    this.#places = [];
    if (addends.arrays.length === 0) return;
    const sums = new BigUint64Array(count);
    const halves = new Uint32Array(sums.buffer);
    const start = this.#reserve(plan);
    for (const { row, offset } of this.#places) writeWord(halves, row, start + offset);
    this.#exchange.add(rows, count, addends, sums);
  }

  /** The rows of a plan, with the sums as their gradients. */
  rowsOf({ rows }: Plan): BigUint64Array<ArrayBuffer> {
    if (this.#places.length === 0) return rows;
    const start = this.#backend.address(this.#memory!);
    const copy = rows.slice();
    const halves = new Uint32Array(copy.buffer);
    for (const { row, offset, isWidened } of this.#places) {
      writeWord(halves, row * ROW + GRAD, start + offset);
      if (isWidened) halves[2 * (row * ROW + KIND)] |= FORMAT_GRAD_F32;
    }
    return copy;
  }

  /** Finds places for the sums, and returns where their memory begins. */
  #reserve({ addends, table }: Plan): number {
    const places: Place[] = [];
    let end = 0;
    for (let row = 0; row < table.count; row++) {
      const length = table.lengthAt(row);
      if (addends.of(row) === null || length === 0) continue;
      const type = table.typesAt(row).gradType as ElementType;
      const sumType = bufferTypeOf(type, this.#precision.rounding);
      places.push({ row, offset: end, isWidened: type !== FLOAT32 && sumType === FLOAT32 });
      end += Math.ceil(sumType.bytes * length / LINE) * LINE;
    }
    this.#places = places;
    if (this.#memory === null || this.#memory.byteLength < end) {
      const { buffer, offset } = this.#backend.allocate(end);
      this.#memory = new Uint32Array(buffer as ArrayBuffer, offset, end / 4);
    }
    return this.#backend.address(this.#memory);
  }
}
