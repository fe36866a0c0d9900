/**
 * The life cycle of momentum buffers and master weights.
 *
 * Those that a step needs for the first time are one transaction: while rows are refreshed they are
 * requested, `prepare` allocates them, and `commit` remembers them once the step has been taken.
 * `discard` drops what was requested or prepared and not committed. Each of the three does nothing if
 * nothing was requested.
 */

import { load } from "../core/convert.ts";
import { isSixteenBit } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { fillAll } from "../core/intrinsics.ts";
import type { ArrayName } from "../core/parameter.ts";
import { makeArrays } from "../memory/slab.ts";
import type { Allocator, StateArray } from "../memory/slab.ts";
import { copyMasters, copyMomentum } from "./copies.ts";
import type { Saved } from "./copies.ts";
import { bindMaster, bindMomentum } from "./given_state.ts";
import { LATER } from "./layout.ts";
import { assignRest, blockOf, createState } from "./parameter_state.ts";
import type { Correction, Momentum8, ParameterState } from "./parameter_state.ts";
import { readBeginning } from "./rows_in_use.ts";
import {
  BEGAN_DENSE,
  BEGAN_SPARSE,
  BUFFER_IS_NEW,
  CORRECTION_IS_STALE,
  MASTER_IS_NEW,
} from "./tensor_table.ts";
import type { TensorTable } from "./tensor_table.ts";

export type { Saved } from "./copies.ts";
export type { Correction, Momentum8, ParameterState } from "./parameter_state.ts";

const IS_NEW = BUFFER_IS_NEW | MASTER_IS_NEW;

/** Momentum buffers and master weights of the rows of a plan. */
export class StateArrays {
  /** What is remembered of each parameter; null as long as nobody has asked for objects. */
  #states: ParameterState[] | null = null;
  /** Whether the transaction has anything in it. */
  #isPending = false;
  /** The data that the correction of each row belongs to. */
  readonly #corrected: Tensor[] = [];
  /** Whether a row has a correction that belongs to other data. */
  #isAnyStale = false;
  readonly #table: TensorTable;
  readonly #memory: Allocator;

  constructor(table: TensorTable, memory: Allocator) {
    this.#table = table;
    this.#memory = memory;
  }

  /** Whether states are objects, in which the user can assign other arrays. */
  get areShown(): boolean {
    return this.#states !== null;
  }

  /** Takes states that the user keeps, for a plan that has none. */
  adopt(states: ParameterState[]): void {
    this.#states = states;
  }

  /** Makes objects of everything. From then on a row has what its state is assigned. */
  materializeAll(): ParameterState[] {
    if (this.#states !== null) return this.#states;
    const states = Array.from({ length: this.#table.count }, (_, row) => {
      this.#table.materialize(row);
      const state = createState(this.bufferAt(row), this.masterAt(row));
      const rest = { momentum8: this.momentum8At(row), correction: this.correctionAt(row) };
      return assignRest(state, rest);
    });
    return this.#states = states;
  }

  /** Makes states for rows that were added, where objects are shown. */
  grow(): void {
    const states = this.#states;
    while (states !== null && states.length < this.#table.count) {
      states.push(createState());
    }
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
    return this.#corrected[row] === data;
  }

  /** The name of the state array that the user reassigned; null if none. */
  findReassigned(row: number): ArrayName | null {
    if (this.#states === null) return null;
    const state = this.#states[row];
    const table = this.#table;
    // What is new is not in the state yet, which must still be empty.
    const buffer = table.has(row, BUFFER_IS_NEW) ? null : table.buffers[row];
    if (this.#momentumIn(row, state) !== buffer) return table.momentumName(row);
    if (table.masters.length === 0 || !isSixteenBit(table.typesAt(row).dtype)) return null;
    const master = table.has(row, MASTER_IS_NEW) ? null : table.masters[row];
    return this.#masterIn(state) === master ? null : table.masterName;
  }

  /** The momentum buffer of a state, or the block of its momentum in 8 bits. */
  #momentumIn(row: number, { momentumBuffer, momentum8 }: ParameterState): StateArray | null {
    if (!this.#table.hasMomentum8(row) || momentumBuffer !== null) return momentumBuffer;
    return momentum8 && (blockOf(momentum8) ?? momentum8.values);
  }

  /** The master weight of a state, or its correction. */
  #masterIn({ masterWeight, correction }: ParameterState): StateArray | null {
    return this.#table.isSplit ? correction : masterWeight;
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
   * Brings a row's momentum buffer up to date, and requests one that is needed for the first time.
   *
   * @returns Whether it has never been written.
   */
  refreshBuffer(row: number, isNeeded: boolean): boolean {
    const table = this.#table;
    const isThere = this.#states === null
      ? table.buffers[row] !== null
      : bindMomentum(table, this.#memory.address, row, this.#states[row]);
    if (isThere) return false;
    if (table.buffers[row] !== null) table.holdBuffer(row, null, 0);
    if (isNeeded) this.#request(row, BUFFER_IS_NEW);
    return true;
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
    const master = this.#states === null ? table.masters[row] : this.#masterIn(this.#states[row]);
    if (master !== null) {
      bindMaster(table, this.#memory.address, row, master);
      return this.#checkStale(row);
    }
    if (table.masters[row] !== null) table.holdMaster(row, null, 0);
    this.#request(row, MASTER_IS_NEW);
  }

  /** Sees whether a correction belongs to other data than the row has. */
  #checkStale(row: number): void {
    const table = this.#table;
    if (!table.isSplit) return;
    table.unmark(row, CORRECTION_IS_STALE);
    if (this.#corrected[row] === table.datas[row]) return;
    table.mark(row, CORRECTION_IS_STALE);
    this.#isAnyStale = true;
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
      const isStepped = table.gradientKind(row) !== "none";
      if (!isStepped || this.#corrected[row] === table.datas[row]) continue;
      fillAll(table.correctionAt(row) as unknown as HostArray, 0);
      this.#corrected[row] = table.datas[row];
    }
    this.#isAnyStale = false;
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
    if (this.#isPending) this.#prepareAll();
  }

  #prepareAll(): void {
    const table = this.#table;
    const { count } = table;
    const lengthOf = (row: number) => table.lengthAt(row);
    makeArrays(this.#memory, {
      ...{ count, lengthOf },
      storeOf: (row) => table.has(row, BUFFER_IS_NEW) ? table.typesAt(row).momentum : null,
      hold: (row, held, address) => table.holdBuffer(row, held, address),
    });
    makeArrays(this.#memory, {
      ...{ count, lengthOf },
      storeOf: (row) => table.has(row, MASTER_IS_NEW) ? table.typesAt(row).master : null,
      hold: (row, held, address) => {
        table.holdMaster(row, held, address);
        if (table.isSplit) this.#corrected[row] = table.datas[row];
        else load(table.datas[row] as HostArray, table.masterAt(row)!);
      },
    });
  }

  /**
   * Rows have been stepped: what was prepared for them is remembered.
   *
   * @param end The row after the last one that was stepped. The rest stays in the transaction.
   */
  commit(end: number): void {
    if (this.#isPending) this.#commitRows(end);
  }

  #commitRows(end: number): void {
    const table = this.#table;
    for (let row = 0; row < end; row++) {
      if (!table.has(row, IS_NEW)) continue;
      if (table.has(row, BUFFER_IS_NEW)) {
        const isSparse = table.gradientKind(row) === "sparse";
        table.mark(row, isSparse ? BEGAN_SPARSE : BEGAN_DENSE);
        if (!isSparse) table.setState(row, LATER);
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
   * Copies what a state dict has of parameters whose data are in the table.
   *
   * @returns Gives the rows the copies for what they have.
   */
  prepareCopies(saved: readonly Saved[]): () => void {
    const table = this.#table;
    const began = saved.flatMap(readBeginning);
    const buffers = copyMomentum(table, this.#memory, saved);
    const masters = copyMasters(table, this.#memory, saved);
    return () => {
      for (const { row } of saved) {
        table.clearState(row);
        table.mark(row, IS_NEW);
      }
      for (const { row, held, address } of buffers) table.holdBuffer(row, held, address);
      for (const { row, held, address } of masters) {
        table.holdMaster(row, held, address);
        if (table.isSplit) this.#corrected[row] = table.datas[row];
      }
      for (const { row, used } of began) {
        table.mark(row, used === null ? BEGAN_DENSE : BEGAN_SPARSE);
        if (used !== null) table.rowsInUse.set(row, used);
      }
      for (const { row } of saved) {
        this.#publish(row, true);
        table.unmark(row, IS_NEW);
      }
    };
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
