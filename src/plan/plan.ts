/**
 * The plan: what one step touches, as tables that a backend takes in one call.
 *
 * The tables are kept between steps. A row is rewritten only when an array's identity changes; what
 * is checked at every step is that no array was detached or shrunk meanwhile. The plan holds every
 * array whose address is in a table, so that none is collected.
 */

import { isUsable } from "../core/array_checks.ts";
import { isSixteenBit } from "../core/dtype.ts";
import type { Device, Tensor } from "../core/dtype.ts";
import { checkCombination } from "../core/hyperparameters.ts";
import type { Hyperparameters } from "../core/hyperparameters.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { checkOverflow, computeTypeOf, isModest } from "../core/overflow.ts";
import type { Parameter, SparseGrad } from "../core/parameter.ts";
import type { Precision } from "../core/rounding.ts";
import type { RuleOptions } from "../core/rule.ts";
import { hasLocks } from "../memory/locks.ts";
import type { Allocator } from "../memory/slab.ts";
import { AliasChecker, assertAllUnlocked, checkNoDataAlias } from "./aliasing.ts";
import {
  CALL_ROW,
  COEFFICIENT,
  FIRST,
  GROUP_ROW,
  LATER,
  MOMENTUM,
  readGroup,
  ROW,
  writeCall,
  writeGroup,
} from "./layout.ts";
import type { CallOptions, CallRow } from "./layout.ts";
import { checkSparseOptions, isSparse, readSparse, SparseTable } from "./sparse.ts";
import { StateArrays } from "./state_arrays.ts";
import { BEGAN_DENSE, BEGAN_SPARSE, RowView, TensorTable } from "./tensor_table.ts";

/** What parameters are stepped by. */
type Group = RuleOptions & Pick<Hyperparameters, "foreach" | "differentiable">;

/** The tables of one optimizer. */
export class Plan {
  /** The tensor table. */
  readonly table: TensorTable;
  /** The momentum buffers and master weights of its rows. */
  readonly stateArrays: StateArrays;
  /** The group table: `GROUP_ROW` words per group. */
  groupRows: Float64Array<ArrayBuffer> = new Float64Array(0);
  /** What the step at hand was asked to do to its gradients: `CALL_ROW` words. */
  readonly callRow: CallRow = new Float64Array(CALL_ROW);
  /** The parameters, in the order of the tensor rows. */
  parameters: readonly Parameter<Tensor>[] = [];
  /** The groups, in the order of the group rows. */
  groups: readonly Group[] = [];
  /** The row after the last one of each group. */
  ends: readonly number[] = [];
  /** The parameters whose gradients are sparse; in `rows` they count as having none. */
  readonly sparse = new SparseTable();
  /** The devices that some of the rows are on. */
  devices: readonly Device[] = [];
  /** Whether some of the rows are in JavaScript's memory. */
  hasArrays = true;

  /** Whether every type can hold the hyperparameters of all groups. */
  #isModest = true;
  readonly #address: Allocator["address"];
  readonly #precision: Precision;
  readonly #apart: AliasChecker;

  /**
   * @param memory Where arrays are, and come from.
   * @param precision What holds for parameters in 16-bit types.
   */
  constructor(memory: Allocator, precision: Precision) {
    const { address } = memory;
    this.table = new TensorTable({
      ...{ address, precision },
      parameterAt: (row) => this.parameters[row],
      release: (row) => this.stateArrays.detachRow(row),
    });
    this.stateArrays = new StateArrays(this.table, memory);
    this.#apart = new AliasChecker(this.table, this.sparse, address);
    this.#address = address;
    this.#precision = precision;
  }

  /** The rows of the tensor table: `ROW` words of 64 bits per parameter. */
  get rows(): BigUint64Array<ArrayBuffer> {
    return this.table.rows;
  }

  /** The same in halves of words. */
  get halves(): Uint32Array {
    return this.table.halves;
  }

  /** The gradients, in the order of the rows; null where there is none, or a sparse one. */
  get grads(): readonly (Tensor | null)[] {
    return this.table.grads;
  }

  /** Whether steps draw random bits: they need a call row then. */
  get isRandom(): boolean {
    return this.#precision.rounding === "stochastic";
  }

  /** A row as an object. */
  rowAt(row: number): RowView {
    return new RowView(this.table, this.parameters[row], row);
  }

  /** All rows as objects, one at a time. */
  *rowViews(): Generator<RowView> {
    for (let row = 0; row < this.table.count; row++) yield this.rowAt(row);
  }

  /**
   * Adds groups and their parameters.
   *
   * @throws {RangeError} If their data overlap what there is, or a parameter is there twice; none is
   * added then.
   */
  add(added: readonly { group: Group; params: readonly Parameter<Tensor>[] }[]): void {
    const { parameters, groups, ends } = this;
    let end = parameters.length;
    this.parameters = [parameters, ...added.map(({ params }) => params)].flat();
    this.groups = [...groups, ...added.map(({ group }) => group)];
    this.ends = [...ends, ...added.map(({ params }) => end += params.length)];
    this.table.resize(this.parameters.length);
    try {
      this.#bindAdded(parameters.length);
      checkNoDataAlias(this.table, this.parameters);
    } catch (error) {
      Object.assign(this, { parameters, groups, ends });
      this.table.resize(parameters.length);
      throw error;
    }
    this.stateArrays.grow();
  }

  /** Binds the data of new rows, and of others where they have changed and can be used. */
  #bindAdded(first: number): void {
    const { parameters, ends } = this;
    for (let group = 0, row = 0; group < ends.length; group++) {
      for (; row < ends[group]; row++) {
        const { data } = parameters[row];
        if (row >= first || isUsable(data)) this.#bindData(row, data, group);
      }
    }
  }

  /** Brings the data of a row up to date. */
  bindData(row: number): void {
    this.#bindData(row, this.parameters[row].data, this.table.groupAt(row));
  }

  #bindData(row: number, data: Tensor, group: number): void {
    if (data !== this.table.datas[row]) this.table.bindData(row, data, group);
  }

  /**
   * Brings the tables up to date and checks everything that a step relies on. Momentum buffers that
   * are needed for the first time are made, but not remembered until `commit`.
   *
   * @throws {TypeError} If an array is of another type or its buffer detached or resizable.
   * @throws {RangeError} If lengths differ, arrays overlap or hyperparameters do not fit together.
   * @throws {Error} If a step that is running elsewhere uses one of the arrays.
   */
  refresh(): void {
    try {
      if (this.stateArrays.hasNew) this.stateArrays.discardNew();
      if (this.sparse.steps.length > 0) this.sparse.steps.length = 0;
      this.#refreshGroups();
      this.#refreshRows();
      if (!this.#isModest) this.#checkOverflow();
      if (this.stateArrays.hasNew) this.#place();
      if (this.table.writtenChanged) this.table.updateHasObjects();
      this.checkAttached();
      if (this.table.writtenChanged) this.#findPlaces();
      this.#apart.check();
      if (this.sparse.steps.length > 0) this.#finishSparse();
      if (hasLocks()) assertAllUnlocked(this);
    } catch (error) {
      this.table.invalidateAll();
      throw error;
    }
  }

  /** Records that the step has been taken: new momentum buffers and master weights are remembered. */
  commit(): void {
    if (this.stateArrays.hasNew) this.stateArrays.commitNew();
    if (this.isRandom) this.#precision.random.counter++;
  }

  /**
   * Writes what the step is asked to do to its gradients, and what clips the norm of each group.
   *
   * @param coefficients One per group; null if no norm is clipped.
   */
  writeCall(request: CallOptions, coefficients: readonly number[] | null): void {
    writeCall(this.callRow, request, this.#precision.random);
    coefficients?.forEach((coefficient, group) => {
      this.groupRows[group * GROUP_ROW + COEFFICIENT] = coefficient;
    });
  }

  /**
   * Checks that gradients can be written: that they share no memory with each other, either.
   *
   * @throws {RangeError} If two of them overlap.
   */
  checkNoGradientAlias(): void {
    this.#apart.checkGradients();
  }

  #refreshGroups(): void {
    const { groups } = this;
    const words = groups.length * GROUP_ROW;
    if (this.groupRows.length !== words) this.groupRows = new Float64Array(words);
    const { groupRows } = this;
    this.#isModest = true;
    for (let i = 0, at = 0; i < groups.length; i++, at += GROUP_ROW) {
      const h = groups[i];
      checkCombination(h);
      writeGroup(groupRows, at, h);
      if (!isModest(groupRows, at)) this.#isModest = false;
    }
  }

  /** Refuses hyperparameters that the types of what is stepped cannot hold. */
  #checkOverflow(): void {
    const { table, parameters } = this;
    const sparse = new Set(this.sparse.steps.map(({ row }) => row));
    for (let row = 0; row < table.count; row++) {
      if (table.grads[row] === null && !sparse.has(row)) continue;
      const h = readGroup(this.groupRows, table.groupAt(row));
      checkOverflow(h, computeTypeOf(table.typesAt(row)), parameters[row], row);
    }
  }

  #refreshRows(): void {
    const { parameters, ends, stateArrays: own, table: { datas, grads, buffers } } = this;
    const areShown = own.states !== null;
    for (let group = 0, row = 0; group < ends.length; group++) {
      const buffered = this.#isBuffered(group);
      const end = ends[group];
      for (; row < end; row++) {
        const { data, grad } = parameters[row];
        const settled = data === datas[row] && grad === grads[row] &&
          (buffers[row] !== null || grad === null || !buffered);
        if (settled && (!areShown || own.findReassigned(row) === null)) continue;
        this.#refreshRow(row, group, data, grad);
      }
    }
  }

  #isBuffered(group: number): boolean {
    return this.groupRows[group * GROUP_ROW + MOMENTUM] !== 0;
  }

  #refreshRow(row: number, group: number, data: Tensor, grad: Tensor | SparseGrad | null): void {
    const { table, stateArrays: own } = this;
    this.#bindData(row, data, group);
    if (grad === null) {
      if (own.findReassigned(row) !== null) own.detachRow(row);
      return table.skip(row);
    }
    if (isSparse(grad)) return this.#refreshSparse(row, group, grad);
    if (grad !== table.grads[row]) {
      this.#checkKind(row, false);
      table.bindGrad(row, grad);
    }
    const { dtype } = table.typesAt(row);
    if (this.#precision.masterWeights && isSixteenBit(dtype)) own.refreshMaster(row);
    table.setState(row, own.refreshBuffer(row, this.#isBuffered(group)) ? FIRST : LATER);
  }

  #refreshSparse(row: number, group: number, grad: SparseGrad): void {
    const { table, stateArrays: own } = this;
    const { dtype } = table.typesAt(row);
    const length = table.lengthAt(row);
    const { shape } = this.parameters[row];
    const rows = readSparse(grad, { dtype, length, shape }, table.name(row, "grad"));
    this.#checkKind(row, true);
    table.skip(row);
    const first = own.refreshBuffer(row, this.#isBuffered(group));
    if (length > 0) this.sparse.steps.push({ ...rows, row, first });
  }

  /** Refuses a gradient of another kind than the one that the momentum buffer began with. */
  #checkKind(row: number, sparse: boolean): void {
    const { table, stateArrays: own } = this;
    const isKnown = own.findReassigned(row) === null && table.has(row, BEGAN_DENSE | BEGAN_SPARSE);
    const began = isKnown ? table.has(row, BEGAN_SPARSE) : null;
    if (!sparse && began !== true) return;
    checkSparseOptions(this.groups[table.groupAt(row)], sparse, began, table.name(row, "grad"));
  }

  /** Makes what is new, master weights as copies of their data, which must be there. */
  #place(): void {
    this.table.updateHasObjects();
    this.checkAttached();
    this.stateArrays.allocateNew();
  }

  /**
   * Runs after everything that could call the user's code, on the arrays that will be used.
   *
   * @throws {TypeError} If one of them is detached.
   */
  checkAttached(): void {
    const detached = this.table.findDetached() ?? this.#findDetachedSparse();
    if (detached !== null) throw detachedError(detached);
  }

  #findDetachedSparse(): string | null {
    for (const { row, values, indices, columns } of this.sparse.steps) {
      const isThere = lengthOf(values) === indices.length * columns;
      const name = isThere
        ? this.table.findDetachedOf(row)
        : `values of ${this.table.name(row, "grad")}`;
      if (name !== null) return name;
    }
    return null;
  }

  /** Finds out where the rows are. */
  #findPlaces(): void {
    const { table } = this;
    const places = new Set<Device | undefined>();
    for (let row = 0; row < table.count; row++) places.add(table.typesAt(row).dtype.device);
    this.hasArrays = places.delete(undefined);
    this.devices = [...places] as Device[];
  }

  /** The checks of overlap for sparse gradients; completes their table. */
  #finishSparse(): void {
    this.#apart.checkValues();
    this.sparse.write(
      ({ row }) => this.rows.subarray(row * ROW, (row + 1) * ROW),
      this.#address,
    );
  }
}

function detachedError(what: string): TypeError {
  return new TypeError(
    `Cannot step as the buffer of ${what} was detached or resized since it was checked`,
  );
}
