/**
 * The life cycle of momentum buffers and master weights.
 *
 * Those that a step needs for the first time are one transaction: while rows are refreshed they are
 * requested, `prepare` allocates them, and `commit` remembers them once the step has been taken.
 * `discard` drops what was requested or prepared and not committed. Each of the three does nothing if
 * nothing was requested.
 */

import { isSixteenBit } from "../core/dtype.ts";
import type { Device, Tensor } from "../core/dtype.ts";
import type { ArrayName } from "../core/parameter.ts";
import type { Allocator, StateArray } from "../memory/slab.ts";
import { Corrections } from "./corrections.ts";
import {
  bindMaster,
  bindMomentum,
  checkForeign,
  findForeign,
  masterIn,
  momentumIn,
} from "./given_state.ts";
import { LATER, MAYBE, stateOf } from "./layout.ts";
import { assignRest, createSplitState, createState } from "./parameter_state.ts";
import type { Correction, Momentum8, ParameterState } from "./parameter_state.ts";
import { BEGAN_DENSE, BEGAN_SPARSE, BUFFER_IS_NEW, MASTER_IS_NEW } from "./marks.ts";
import { makeRequested } from "./requests.ts";
import type { TensorTable } from "./tensor_table.ts";
import { findUnsure, setSure, settleStepped, setUnsure } from "./unsure.ts";
import type { UnsureRow } from "./unsure.ts";

export type { Correction, Momentum8, ParameterState } from "./parameter_state.ts";

const IS_NEW = BUFFER_IS_NEW | MASTER_IS_NEW;

/** Momentum buffers and master weights of the rows of a plan. */
export class StateArrays {
  /** What is remembered of each parameter; null as long as nobody has asked for objects. */
  #states: ParameterState[] | null = null;
  /** Whether the states are entries of lists that the user keeps. */
  #isListed = false;
  /** Whether the transaction has anything in it. */
  #isPending = false;
  readonly #corrections: Corrections;
  /** Whether momentum buffers may be unsure. */
  #hasUnsure = false;
  readonly #table: TensorTable;
  /** Where arrays are, and come from. */
  readonly memory: Allocator;

  constructor(table: TensorTable, memory: Allocator) {
    this.#table = table;
    this.#corrections = new Corrections(table);
    this.memory = memory;
  }

  /** Whether states are objects, in which the user can assign other arrays. */
  get areShown(): boolean {
    return this.#states !== null;
  }

  /** Takes states that the user keeps, for a plan that has none. Corrections go with the data. */
  adopt(states: ParameterState[]): void {
    this.#states = states;
    this.#isListed = true;
    for (let row = 0; row < this.#table.count; row++) this.#corrections.settle(row);
  }

  /** Makes objects of everything. From then on a row has what its state is assigned. */
  materializeAll(): ParameterState[] {
    if (this.#states !== null) return this.#states;
    const states = Array.from({ length: this.#table.count }, (_, row) => {
      this.#table.materialize(row);
      const state = this.#createState(row);
      Object.assign(state, {
        momentumBuffer: this.bufferAt(row),
        masterWeight: this.masterAt(row),
      });
      const rest = { momentum8: this.momentum8At(row), correction: this.correctionAt(row) };
      return assignRest(state, rest);
    });
    return this.#states = states;
  }

  /** Makes states for rows that were added, where objects are shown. */
  grow(): void {
    const states = this.#states;
    while (states !== null && states.length < this.#table.count) {
      states.push(this.#createState(states.length));
    }
  }

  #createState(row: number): ParameterState {
    const table = this.#table;
    if (!table.isSplit) return createState();
    const parameter = table.parameterAt(row);
    return createSplitState(parameter, (data) => this.#corrections.isOf(parameter, data));
  }

  /**
   * Follows rows into another order. The states of those that are left out keep their arrays.
   *
   * @param order For each row, the row that it was.
   */
  arrange(order: readonly number[]): void {
    const states = this.#states;
    this.#states = states && order.map((was) => states[was]);
  }

  /** The momentum buffer that is remembered; one on a slab is made an object for the caller. */
  bufferAt(row: number): Tensor | null {
    if (this.#states !== null) return this.#states[row].momentumBuffer;
    return this.#table.has(row, BUFFER_IS_NEW) ? null : this.#table.bufferAt(row);
  }

  /** The momentum in 8 bits that is remembered, like `bufferAt`. */
  momentum8At(row: number): Momentum8 | null {
    if (this.#states !== null) return this.#states[row].momentum8;
    return this.#table.has(row, BUFFER_IS_NEW) ? null : this.#table.momentum8At(row);
  }

  /** The momentum that this step has allocated; null if it has not. */
  newMomentumAt(row: number): Tensor | Momentum8 | null {
    if (!this.#table.has(row, BUFFER_IS_NEW)) return null;
    return this.#table.bufferAt(row) ?? this.#table.momentum8At(row);
  }

  /** The master weight, or the correction, that this step has allocated; null if it has not. */
  newMasterAt(row: number): Float32Array | Correction | null {
    if (!this.#table.has(row, MASTER_IS_NEW)) return null;
    return this.#table.masterAt(row) ?? this.#table.correctionAt(row);
  }

  /** The master weight that is remembered; one on a slab is made an object for the caller. */
  masterAt(row: number): Float32Array | null {
    if (this.#states !== null) return this.#states[row].masterWeight;
    return this.#table.has(row, MASTER_IS_NEW) ? null : this.#table.masterAt(row);
  }

  /** The correction of the master weight that is remembered, like `masterAt`. */
  correctionAt(row: number): Correction | null {
    if (this.#states !== null) return this.#states[row].correction;
    return this.#table.has(row, MASTER_IS_NEW) ? null : this.#table.correctionAt(row);
  }

  /** Whether a row's correction belongs to these data: with others, the next step begins at 0. */
  isCorrectionOf(row: number, data: Tensor): boolean {
    return this.#corrections.isOf(this.#table.parameterAt(row), data);
  }

  /** The name of the state array that the user reassigned; null if none. */
  findReassigned(row: number): ArrayName | null {
    if (this.#states === null) return null;
    const state = this.#states[row];
    const table = this.#table;
    // What is new is not in the state yet, which must still be empty.
    const buffer = table.has(row, BUFFER_IS_NEW) ? null : table.buffers[row];
    if (momentumIn(table, row, state) !== buffer) return table.momentumName(row);
    const foreign = findForeign(table, state);
    if (foreign !== null) return foreign;
    if (table.masters.length === 0 || !isSixteenBit(table.typesAt(row).dtype)) return null;
    const master = table.has(row, MASTER_IS_NEW) ? null : table.masters[row];
    return masterIn(table, state) === master ? null : table.masterName;
  }

  /**
   * Detaches a row from its buffer and master weight. The public state keeps them: the next step
   * rebinds them if they fit, and throws if it needs them and they do not.
   */
  detachRow(row: number): void {
    const { buffers, masters } = this.#table;
    const isHolding = buffers[row] !== null || (masters[row] ?? null) !== null;
    if (!isHolding) return;
    this.materializeAll();
    this.#table.clearState(row);
  }

  /**
   * Refuses what the user assigned to a row's state and no step would use.
   *
   * @throws {TypeError} If there is such an array.
   */
  checkForeign(row: number): void {
    if (this.#states !== null) checkForeign(this.#table, row, this.#states[row]);
  }

  /**
   * Brings a row's momentum buffer up to date, and requests one that is needed for the first time.
   *
   * @returns Whether it has never been written.
   */
  refreshBuffer(row: number, isNeeded: boolean): boolean {
    const table = this.#table;
    const isThere = this.#states === null
      ? table.buffers[row] !== null
      : bindMomentum(table, this.memory.address, row, this.#states[row], this.#isListed);
    if (isThere) return false;
    if (table.buffers[row] !== null) table.holdBuffer(row, null, 0);
    if (isNeeded) this.#request(row, BUFFER_IS_NEW);
    return true;
  }

  /** Brings a row up to date with what its state was assigned, and requests nothing. */
  bind(row: number): void {
    if (this.findReassigned(row) === null) return;
    this.checkForeign(row);
    this.#table.skip(row); // its gradient is looked at anew, with this state
    this.refreshBuffer(row, false);
    const table = this.#table;
    const master = masterIn(table, this.#states![row]);
    if (master !== null) this.refreshMaster(row);
    else if ((table.masters[row] ?? null) !== null) table.holdMaster(row, null, 0);
  }

  /**
   * The rows in use as a state dict has them: a byte for each. Null for a momentum buffer that did not
   * begin with a sparse gradient, or of which that is not known.
   */
  savedRowsInUse(row: number): Uint8Array<ArrayBuffer> | null {
    const table = this.#table;
    if (!table.has(row, BEGAN_SPARSE) || this.findReassigned(row) !== null) return null;
    return table.rowsInUse.bytesOf(row);
  }

  /** Brings a row's master weight or correction up to date, or requests it. */
  refreshMaster(row: number): void {
    const table = this.#table;
    const master = this.#states === null ? table.masters[row] : masterIn(table, this.#states[row]);
    if (master !== null) {
      bindMaster(table, this.memory.address, row, master);
      return this.#corrections.check(row);
    }
    if (table.masters[row] !== null) table.holdMaster(row, null, 0);
    this.#request(row, MASTER_IS_NEW);
  }

  /** Whether corrections may belong to other data than their rows have. */
  get hasStale(): boolean {
    return this.#corrections.isAnyStale;
  }

  /** Fills corrections with zeros that belong to other data than their rows have. */
  resetStale(): void {
    this.#corrections.resetStale();
  }

  #request(row: number, mark: number): void {
    this.#table.mark(row, mark);
    this.#isPending = true;
  }

  /**
   * Allocates what was requested: master weights as copies of their data, which must be attached, and
   * everything else as zeros.
   */
  prepare(): void {
    if (this.#isPending) makeRequested(this.#table, this.memory, this.#corrections);
  }

  /**
   * Rows have been stepped: what was prepared for them is remembered.
   *
   * @param end The row after the last one that was stepped. The rest stays in the transaction.
   */
  commit(end: number): void {
    if (this.#isPending) this.#commitRows(end, LATER);
  }

  /** The same after a step that a device may have skipped: momentum buffers that are new are unsure. */
  commitUnsure(end: number): void {
    if (!this.#isPending) return;
    this.#commitRows(end, MAYBE);
    this.#hasUnsure = true;
  }

  /**
   * Rows have been stepped, and that was not skipped: momentum buffers that were unsure are not any more.
   *
   * @param isBuffered Whether a group has momentum.
   */
  settleStepped(end: number, isBuffered: (group: number) => boolean): void {
    if (this.#hasUnsure) settleStepped(this.#table, end, isBuffered);
  }

  /** The rows whose momentum buffers are unsure, by device; null if there are none. */
  findUnsure(): Map<Device, UnsureRow[]> | null {
    if (!this.#hasUnsure) return null;
    const rows = findUnsure(this.#table.count, (row) => this.bufferAt(row));
    this.#hasUnsure = rows.size > 0;
    return rows.size > 0 ? rows : null;
  }

  /** Takes what a device says of momentum buffers; those that were never written are let go of. */
  settle(rows: readonly UnsureRow[], written: readonly boolean[]): void {
    const table = this.#table;
    rows.forEach(({ row, buffer }, i) => {
      setSure(buffer);
      const isHeld = table.buffers[row] === buffer;
      if (written[i]) {
        if (isHeld && stateOf(table.halves, row) === MAYBE) table.setState(row, LATER);
        return;
      }
      if (isHeld) {
        table.holdBuffer(row, null, 0);
        table.skip(row);
      }
      const state = this.#states?.[row];
      if (state?.momentumBuffer === buffer) state.momentumBuffer = null;
    });
  }

  #commitRows(end: number, state: number): void {
    const table = this.#table;
    for (let row = 0; row < end; row++) {
      if (!table.has(row, IS_NEW)) continue;
      if (table.has(row, BUFFER_IS_NEW)) {
        const isSparse = table.gradientKind(row) === "sparse";
        table.mark(row, isSparse ? BEGAN_SPARSE : BEGAN_DENSE);
        if (!isSparse) table.setState(row, state);
        if (state === MAYBE) setUnsure(table.buffers[row]!);
      }
      this.#publish(row, false);
      table.unmark(row, IS_NEW);
    }
    this.#isPending = end < table.count;
  }

  /** Drops what was not committed, as the step that it was for was not taken. */
  discard(): void {
    if (this.#isPending) this.#discardAll();
  }

  #discardAll(): void {
    const table = this.#table;
    for (let row = 0; row < table.count; row++) {
      if (!table.has(row, IS_NEW)) continue;
      if (table.has(row, BUFFER_IS_NEW)) table.holdBuffer(row, null, 0);
      if (table.has(row, MASTER_IS_NEW)) table.holdMaster(row, null, 0);
      table.unmark(row, IS_NEW);
      table.skip(row);
    }
    this.#isPending = false;
  }

  /**
   * Replaces what rows have.
   *
   * @param hold Gives them other arrays.
   */
  replace(rows: readonly number[], hold: () => void): void {
    const table = this.#table;
    for (const row of rows) {
      table.clearState(row);
      table.mark(row, IS_NEW);
    }
    hold();
    for (const row of rows) {
      this.#publish(row, true);
      table.unmark(row, IS_NEW);
    }
  }

  /** A master weight or a correction of the data that the row has. */
  holdMaster(row: number, held: StateArray, address: number): void {
    this.#table.holdMaster(row, held, address);
    if (this.#table.isSplit) this.#corrections.settle(row);
  }

  /**
   * Publishes the row's new arrays in its state object.
   *
   * @param isLoaded Whether it takes the place of what is there. What the user assigned while
   * a step ran stays, and the promise of that step is rejected.
   */
  #publish(row: number, isLoaded: boolean): void {
    if (this.#states === null) return;
    this.#table.materialize(row);
    const [table, state] = [this.#table, this.#states[row]];
    const takes = (mark: number, now: unknown) =>
      table.has(row, mark) && (isLoaded || now === null);
    if (takes(BUFFER_IS_NEW, state.momentumBuffer ?? state.momentum8)) {
      state.momentumBuffer = table.bufferAt(row);
      assignRest(state, { momentum8: table.momentum8At(row) });
    }
    if (takes(MASTER_IS_NEW, state.masterWeight ?? state.correction)) {
      state.masterWeight = table.masterAt(row);
      assignRest(state, { correction: table.correctionAt(row) });
    }
  }
}
