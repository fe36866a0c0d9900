/**
 * The life cycle of momentum buffers and master weights.
 *
 * Those that a step needs for the first time are one transaction: while rows are refreshed they are
 * requested, `prepare` allocates them, and `commit` remembers them once the step has been taken.
 * `discard` drops what was requested or prepared and not committed. Each of the three does nothing if
 * nothing was requested.
 */

import { load } from "../core/convert.ts";
import { countOf, FLOAT32, isSixteenBit } from "../core/dtype.ts";
import type { Device, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import type { ArrayName } from "../core/parameter.ts";
import { cannot } from "../core/validate.ts";
import { copyFromHost, storedType } from "../memory/host_copy.ts";
import { makeArrays, objectOf } from "../memory/slab.ts";
import type { Allocator, StateArray } from "../memory/slab.ts";
import { LATER, MAYBE, stateOf } from "./layout.ts";
import { BEGAN_DENSE, BEGAN_SPARSE, BUFFER_IS_NEW, MASTER_IS_NEW } from "./tensor_table.ts";
import type { TensorTable } from "./tensor_table.ts";
import { findUnsure, setSure, settleStepped, setUnsure } from "./unsure.ts";
import type { UnsureRow } from "./unsure.ts";

const IS_NEW = BUFFER_IS_NEW | MASTER_IS_NEW;

/** What the optimizer remembers of a parameter. */
export interface ParameterState {
  /** The momentum buffer, or null before the first step with momentum. */
  momentumBuffer: Tensor | null;
  /** The float32 copy that steps go into, or null if there is none. */
  masterWeight: Float32Array | null;
}

/** What a state dict has of a parameter. */
export interface Saved {
  readonly row: number;
  readonly momentumBuffer: HostArray | null;
  readonly masterWeight: HostArray | null;
}

/** A copy for a row, and where it lies. */
interface HeldCopy {
  readonly row: number;
  readonly held: StateArray;
  readonly address: number;
}

/** Momentum buffers and master weights of the rows of a plan. */
export class StateArrays {
  /** What is remembered of each parameter; null as long as nobody has asked for objects. */
  #states: ParameterState[] | null = null;
  /** Whether the transaction has anything in it. */
  #isPending = false;
  /** Whether momentum buffers may be unsure. */
  #hasUnsure = false;
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
      return { momentumBuffer: this.bufferAt(row), masterWeight: this.masterAt(row) };
    });
    return this.#states = states;
  }

  /** Makes states for rows that were added, where objects are shown. */
  grow(): void {
    const states = this.#states;
    while (states !== null && states.length < this.#table.count) {
      states.push({ momentumBuffer: null, masterWeight: null });
    }
  }

  /** The momentum buffer that is remembered; one on a slab is made an object for the caller. */
  bufferAt(row: number): Tensor | null {
    if (this.#states !== null) return this.#states[row].momentumBuffer;
    return this.#table.has(row, BUFFER_IS_NEW) ? null : this.#table.bufferAt(row);
  }

  /** The momentum buffer that this step has allocated; null if it has not. */
  newBufferAt(row: number): Tensor | null {
    return this.#table.has(row, BUFFER_IS_NEW) ? this.#table.bufferAt(row) : null;
  }

  /** The master weight that is remembered; one on a slab is made an object for the caller. */
  masterAt(row: number): Float32Array | null {
    if (this.#states !== null) return this.#states[row].masterWeight;
    return this.#table.has(row, MASTER_IS_NEW) ? null : this.#table.masterAt(row);
  }

  /** The name of the state array that the user reassigned; null if none. */
  findReassigned(row: number): ArrayName | null {
    if (this.#states === null) return null;
    const { momentumBuffer, masterWeight } = this.#states[row];
    const table = this.#table;
    // What is new is not in the state yet, which must still be empty.
    const buffer = table.has(row, BUFFER_IS_NEW) ? null : table.buffers[row];
    if (momentumBuffer !== buffer) return "momentum buffer";
    if (table.masters.length === 0 || !isSixteenBit(table.typesAt(row).dtype)) return null;
    const master = table.has(row, MASTER_IS_NEW) ? null : table.masters[row];
    return masterWeight === master ? null : "master weight";
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
    const buffer = this.#states === null ? table.buffers[row] : this.#states[row].momentumBuffer;
    if (buffer !== null) {
      table.bindBuffer(row, buffer);
      return false;
    }
    if (table.buffers[row] !== null) table.holdBuffer(row, null, 0);
    if (isNeeded) this.#request(row, BUFFER_IS_NEW);
    return true;
  }

  /** Brings a row's master weight up to date, or requests it. */
  refreshMaster(row: number): void {
    const table = this.#table;
    const master = this.#states === null ? table.masters[row] : this.#states[row].masterWeight;
    if (master !== null) return table.bindMaster(row, master);
    if (table.masters[row] !== null) table.holdMaster(row, null, 0);
    this.#request(row, MASTER_IS_NEW);
  }

  #request(row: number, mark: number): void {
    this.#table.mark(row, mark);
    this.#isPending = true;
  }

  /** Allocates what was requested, master weights as copies of their data, which must be attached. */
  prepare(): void {
    if (this.#isPending) this.#prepareAll();
  }

  #prepareAll(): void {
    const table = this.#table;
    const { count } = table;
    const lengthOf = (row: number) => table.lengthAt(row);
    makeArrays(this.#memory, {
      ...{ count, lengthOf },
      typeOf: (row) => table.has(row, BUFFER_IS_NEW) ? table.typesAt(row).bufferType : null,
      hold: (row, held, address) => table.holdBuffer(row, held, address),
    });
    makeArrays(this.#memory, {
      ...{ count, lengthOf },
      typeOf: (row) => table.has(row, MASTER_IS_NEW) ? FLOAT32 : null,
      hold: (row, held, address) => {
        table.holdMaster(row, held as StateArray<Float32Array>, address);
        load(table.datas[row] as HostArray, table.masterAt(row)!);
      },
    });
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
   * Copies what a state dict has of parameters whose data are in the table.
   *
   * @returns Gives the rows the copies for what they have.
   */
  prepareCopies(saved: readonly Saved[]): () => void {
    const table = this.#table;
    const buffers = this.#copyAll(saved, "momentumBuffer");
    const masters = this.#copyAll(saved, "masterWeight");
    return () => {
      for (const { row } of saved) {
        table.clearState(row);
        table.mark(row, IS_NEW);
      }
      for (const { row, held, address } of buffers) table.holdBuffer(row, held, address);
      for (const { row, held, address } of masters) {
        table.holdMaster(row, held as StateArray<Float32Array>, address);
      }
      for (const { row } of saved) {
        this.#publish(row, true);
        table.unmark(row, IS_NEW);
      }
    };
  }

  /** Copies one kind of array, where the dict has it. */
  #copyAll(saved: readonly Saved[], name: "momentumBuffer" | "masterWeight"): HeldCopy[] {
    const table = this.#table;
    const wanted = saved.filter(({ [name]: values }) => values !== null);
    const typeOf = (i: number) =>
      name === "momentumBuffer" ? table.typesAt(wanted[i].row).bufferType : FLOAT32;
    const lengthOf = (i: number) => table.lengthAt(wanted[i].row);
    for (const [i, { row, [name]: values }] of wanted.entries()) {
      const isOfType = storedType(table.datas[row], values!) === typeOf(i);
      if (isOfType && countOf(values!) === lengthOf(i)) continue;
      // The dict fitted other data, which a getter gave.
      throw new RangeError(
        cannot("load the state", `${table.name(row, "data")} changed meanwhile`),
      );
    }
    const copies: HeldCopy[] = [];
    makeArrays(this.#memory, {
      ...{ count: wanted.length, lengthOf, typeOf },
      hold(i, held, address) {
        copyFromHost(objectOf(held, typeOf(i), address, lengthOf(i)), wanted[i][name]!);
        copies.push({ row: wanted[i].row, held, address });
      },
    });
    return copies;
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
    if (takes(BUFFER_IS_NEW, state.momentumBuffer)) state.momentumBuffer = table.bufferAt(row);
    if (takes(MASTER_IS_NEW, state.masterWeight)) state.masterWeight = table.masterAt(row);
  }
}
