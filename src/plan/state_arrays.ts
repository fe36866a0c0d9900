/**
 * The arrays that an optimizer makes: momentum buffers and master weights, how they begin, and how
 * they become objects for whoever asks for the state.
 */

import { load } from "../core/convert.ts";
import { countOf, FLOAT32, isSixteenBit } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import type { ArrayName } from "../core/parameter.ts";
import { copyFromHost, storedType } from "../memory/host_copy.ts";
import { makeArrays, objectOf } from "../memory/slab.ts";
import type { Allocator, StateArray } from "../memory/slab.ts";
import { LATER } from "./layout.ts";
import { BEGAN_DENSE, BEGAN_SPARSE, BUFFER_IS_NEW, MASTER_IS_NEW } from "./tensor_table.ts";
import type { TensorTable } from "./tensor_table.ts";

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

/** Momentum buffers and master weights of the rows of a plan. */
export class StateArrays {
  /** What is remembered of each parameter; null as long as nobody has asked for objects. */
  states: ParameterState[] | null = null;
  /** Whether some of them are made for the step at hand, and not remembered before it is taken. */
  hasNew = false;
  readonly #table: TensorTable;
  readonly #memory: Allocator;

  constructor(table: TensorTable, memory: Allocator) {
    this.#table = table;
    this.#memory = memory;
  }

  /** Makes objects of everything. From then on a row has what its state is assigned. */
  materializeAll(): ParameterState[] {
    if (this.states !== null) return this.states;
    const states = Array.from({ length: this.#table.count }, (_, row) => {
      this.#table.materialize(row);
      return { momentumBuffer: this.bufferAt(row), masterWeight: this.masterAt(row) };
    });
    this.#table.updateHasObjects();
    return this.states = states;
  }

  /** Makes states for rows that were added, where objects are shown. */
  grow(): void {
    const { states } = this;
    while (states !== null && states.length < this.#table.count) {
      states.push({ momentumBuffer: null, masterWeight: null });
    }
  }

  /** The momentum buffer that is remembered; one on a slab is made an object for the caller. */
  bufferAt(row: number): Tensor | null {
    if (this.states !== null) return this.states[row].momentumBuffer;
    return this.#table.has(row, BUFFER_IS_NEW) ? null : this.#table.bufferAt(row);
  }

  /** The master weight that is remembered, likewise. */
  masterAt(row: number): Float32Array | null {
    if (this.states !== null) return this.states[row].masterWeight;
    return this.#table.has(row, MASTER_IS_NEW) ? null : this.#table.masterAt(row);
  }

  /** What of a row's state is not what the row has, as something else was assigned; else null. */
  findReassigned(row: number): ArrayName | null {
    if (this.states === null) return null;
    const { momentumBuffer, masterWeight } = this.states[row];
    const table = this.#table;
    // What is new is not in the state yet; it must not have got anything else meanwhile.
    const buffer = table.has(row, BUFFER_IS_NEW) ? null : table.buffers[row];
    if (momentumBuffer !== buffer) return "momentum buffer";
    if (table.masters.length === 0 || !isSixteenBit(table.typesAt(row).dtype)) return null;
    const master = table.has(row, MASTER_IS_NEW) ? null : table.masters[row];
    return masterWeight === master ? null : "master weight";
  }

  /**
   * Lets go of what a row holds, which the states still have: it comes back where it fits, and is
   * refused where a step needs it and it does not.
   */
  detachRow(row: number): void {
    const { buffers, masters } = this.#table;
    const isHolding = buffers[row] !== null || (masters[row] ?? null) !== null;
    if (!isHolding) return;
    this.materializeAll();
    this.#table.clearState(row);
  }

  /**
   * Brings a row's momentum buffer up to date. One that is needed for the first time gets its memory
   * from `place`, and is remembered from `begin` on.
   *
   * @returns Whether it has never been written.
   */
  refreshBuffer(row: number, isNeeded: boolean): boolean {
    const table = this.#table;
    const buffer = this.states === null ? table.buffers[row] : this.states[row].momentumBuffer;
    if (buffer !== null) {
      table.bindBuffer(row, buffer);
      return false;
    }
    if (table.buffers[row] !== null) table.holdBuffer(row, null, 0);
    if (isNeeded) this.#want(row, BUFFER_IS_NEW);
    return true;
  }

  /** Brings a row's master weight up to date, likewise. */
  refreshMaster(row: number): void {
    const table = this.#table;
    const master = this.states === null ? table.masters[row] : this.states[row].masterWeight;
    if (master !== null) return table.bindMaster(row, master);
    if (table.masters[row] !== null) table.holdMaster(row, null, 0);
    this.#want(row, MASTER_IS_NEW);
  }

  #want(row: number, mark: number): void {
    this.#table.mark(row, mark);
    this.hasNew = true;
  }

  /** Makes what is new. */
  allocateNew(): void {
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

  /** The step has been taken: what was new is remembered. */
  commitNew(): void {
    const table = this.#table;
    for (let row = 0; row < table.count; row++) {
      if (!table.has(row, IS_NEW)) continue;
      if (table.has(row, BUFFER_IS_NEW)) {
        const isSparse = table.grads[row] === null;
        table.mark(row, isSparse ? BEGAN_SPARSE : BEGAN_DENSE);
        if (!isSparse) table.setState(row, LATER);
      }
      this.#tell(row, false);
      table.unmark(row, IS_NEW);
    }
    this.hasNew = false;
  }

  /** Forgets what `begin` has not reached, as the step that it was for was not taken. */
  discardNew(): void {
    const table = this.#table;
    for (let row = 0; row < table.count; row++) {
      if (!table.has(row, IS_NEW)) continue;
      if (table.has(row, BUFFER_IS_NEW)) table.holdBuffer(row, null, 0);
      if (table.has(row, MASTER_IS_NEW)) table.holdMaster(row, null, 0);
      table.unmark(row, IS_NEW);
      table.skip(row);
    }
    this.hasNew = false;
  }

  /**
   * Copies what a state dict has of parameters whose data are in the table.
   *
   * @returns Gives the rows the copies for what they have.
   */
  prepareCopies(saved: readonly Saved[]): () => void {
    const table = this.#table;
    const holders: (() => void)[] = [];
    const copyAll = <T extends Tensor>(
      name: "momentumBuffer" | "masterWeight",
      hold: (row: number, held: StateArray<T>, address: number) => void,
    ) => {
      const wanted = saved.filter(({ [name]: values }) => values !== null);
      const typeOf = (i: number) =>
        name === "momentumBuffer" ? table.typesAt(wanted[i].row).bufferType : FLOAT32;
      const lengthOf = (i: number) => table.lengthAt(wanted[i].row);
      for (const [i, { row, [name]: values }] of wanted.entries()) {
        const isOfType = storedType(table.datas[row], values!) === typeOf(i);
        if (isOfType && countOf(values!) === lengthOf(i)) continue;
        // The dict fitted other data, which a getter gave.
        throw new RangeError(
          `Cannot load the state as ${table.name(row, "data")} changed meanwhile`,
        );
      }
      makeArrays(this.#memory, {
        ...{ count: wanted.length, lengthOf, typeOf },
        hold(i, held, address) {
          copyFromHost(objectOf(held, typeOf(i), address, lengthOf(i)), wanted[i][name]!);
          holders.push(() => hold(wanted[i].row, held as StateArray<T>, address));
        },
      });
    };
    copyAll("momentumBuffer", (row, held, address) => table.holdBuffer(row, held, address));
    copyAll<Float32Array>("masterWeight", (...args) => table.holdMaster(...args));
    return () => {
      for (const { row } of saved) {
        table.clearState(row);
        table.mark(row, IS_NEW);
      }
      for (const hold of holders) hold();
      for (const { row } of saved) {
        this.#tell(row, true);
        table.unmark(row, IS_NEW);
      }
    };
  }

  /**
   * Lets the state of a row say what the row has that is new.
   *
   * @param isLoaded Whether it takes the place of what is there. What was assigned while a step ran
   * stays, and whoever awaits the step learns of it.
   */
  #tell(row: number, isLoaded: boolean): void {
    if (this.states === null) return;
    this.#table.materialize(row);
    const [table, state] = [this.#table, this.states[row]];
    const takes = (mark: number, now: unknown) =>
      table.has(row, mark) && (isLoaded || now === null);
    if (takes(BUFFER_IS_NEW, state.momentumBuffer)) state.momentumBuffer = table.bufferAt(row);
    if (takes(MASTER_IS_NEW, state.masterWeight)) state.masterWeight = table.masterAt(row);
  }
}
