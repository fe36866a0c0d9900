/**
 * The plan: what one step touches, as tables that a backend takes in one call.
 *
 * The tables are kept between steps. A row is rewritten only when an array's identity changes; what
 * is checked at every step is that no array has been detached or resized since. The plan holds every
 * array whose address is in a table, so that none is collected.
 */

import { isUsable } from "../core/array_checks.ts";
import { isSixteenBit } from "../core/dtype.ts";
import type { Device, Tensor } from "../core/dtype.ts";
import { checkOverflow, updateTypeOf } from "../core/overflow.ts";
import type { Parameter, SparseGrad } from "../core/parameter.ts";
import { countStep } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot } from "../core/validate.ts";
import { hasLocks } from "../memory/locks.ts";
import type { Allocator } from "../memory/slab.ts";
import type { RowAverages } from "./averages.ts";
import { AliasChecker, assertAllUnlocked, checkNoDataAlias } from "./aliasing.ts";
import { findDetached, findDetachedSparse } from "./attached.ts";
import { drawsRandom, GroupTable } from "./group_table.ts";
import type { Group } from "./group_table.ts";
import {
  CALL_ROW,
  FIRST,
  NOTHING_ADDED,
  readGroup,
  ROW,
  writeAverages,
  writeCall,
} from "./layout.ts";
import type { AddedGradients, CallOptions, CallRow } from "./layout.ts";
import { BEGAN_DENSE, BEGAN_SPARSE } from "./marks.ts";
import { RowView } from "./row_view.ts";
import { checkSparseOptions, isSparse, readSparse, SparseTable } from "./sparse.ts";
import type { SparseRows, SparseStep } from "./sparse.ts";
import { StateArrays } from "./state_arrays.ts";
import { TensorTable } from "./tensor_table.ts";
import { stateOfBuffer } from "./unsure.ts";

/** The tables of one optimizer. */
export class Plan {
  /** The tensor table. */
  readonly table: TensorTable;
  /** The momentum buffers and master weights of its rows. */
  readonly stateArrays: StateArrays;
  /** What the current step does to its gradients: `CALL_ROW` words. */
  readonly callRow: CallRow = new Float64Array(CALL_ROW);
  /** The parameters, in the order of the tensor rows. */
  parameters: readonly Parameter<Tensor>[] = [];
  /** The groups, in the order of the group rows. */
  groups: readonly Group[] = [];
  /** The row after the last one of each group. */
  ends: readonly number[] = [];
  /** Whether steps draw random bits: they need a call row then. */
  isRandom = false;
  /** What the current step adds to its gradients. */
  addends: AddedGradients = NOTHING_ADDED;
  /** The averages that the current step updates; null for most steps. */
  average: RowAverages | null = null;
  /** The sparse gradients of the current step, of rows whose gradient kind is `"sparse"`. */
  readonly sparse = new SparseTable();

  readonly #groupTable = new GroupTable();
  readonly #address: Allocator["address"];
  readonly #precision: Precision;
  /** The checks of what its arrays share memory with. */
  readonly aliases: AliasChecker;

  /**
   * @param memory Where arrays are, and come from.
   * @param precision What holds for parameters in 16-bit types.
   */
  constructor(memory: Allocator, precision: Precision) {
    const { address } = memory;
    this.table = new TensorTable({
      ...{ address, precision },
      parameterAt: (row) => this.parameters[row],
      momentumBitsOf: (group) => this.groups[group].momentumBits ?? 32,
      release: (row) => this.stateArrays.detachRow(row),
    });
    this.stateArrays = new StateArrays(this.table, memory);
    this.aliases = new AliasChecker(this.table, this.sparse, address);
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

  /** The group table: `GROUP_ROW` words per group. */
  get groupRows(): Float64Array<ArrayBuffer> {
    return this.#groupTable.rows;
  }

  /** The devices that some of the rows are on. */
  get devices(): readonly Device[] {
    return this.table.devices;
  }

  /** Whether some of the rows are in JavaScript's memory. */
  get hasArrays(): boolean {
    return this.table.hasArrays;
  }

  /** The gradients, in the order of the rows; null where there is none, or a sparse one. */
  get grads(): readonly (Tensor | null)[] {
    return this.table.grads;
  }

  /** Whether parameters in 16-bit types are rounded at random. */
  get isStochastic(): boolean {
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
   * @param agree Called once they are in the table; if it throws, none is added.
   * @throws {RangeError} If their data overlap what there is, or a parameter is there twice; none is
   * added then.
   */
  add(
    added: readonly { group: Group; params: readonly Parameter<Tensor>[] }[],
    agree: () => void = () => {},
  ): void {
    const { parameters, groups, ends } = this;
    let end = parameters.length;
    this.parameters = [parameters, ...added.map(({ params }) => params)].flat();
    this.groups = [...groups, ...added.map(({ group }) => group)];
    this.ends = [...ends, ...added.map(({ params }) => end += params.length)];
    this.table.resize(this.parameters.length);
    try {
      this.#bindAdded(parameters.length);
      checkNoDataAlias(this.table, this.parameters);
      agree();
    } catch (error) {
      Object.assign(this, { parameters, groups, ends });
      this.table.resize(parameters.length);
      throw error;
    }
    this.stateArrays.grow();
    this.isRandom = drawsRandom(this.#precision, this.groups);
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

  /**
   * Brings data and state up to date, whatever gradients there are. What an earlier step had prepared and
   * was not taken for is dropped.
   *
   * @throws {TypeError} If an array is of another type, or detached, or was assigned where none is used.
   */
  refreshState(): void {
    const { table, stateArrays: own } = this;
    own.discard();
    for (let row = 0; row < table.count; row++) {
      this.bindData(row);
      own.bind(row);
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
   * The order of a refresh:
   *
   * 1. What the last step requested and did not commit is dropped, so the rows are those of the
   *    last step that was taken.
   * 2. Groups, then rows. Only here the user's getters run. A row whose arrays are the same stays; the
   *    table records every other one as changed, and missing state arrays are requested.
   * 3. All arrays are still attached, whatever a getter has done.
   * 4. The requested state arrays are allocated. Master weights are copies of data, which 3 has seen.
   * 5. What was recorded as changed is compared with the rest; then nothing is recorded any more.
   * 6. The sparse table is written from the rows, which are complete.
   *
   * If any of it throws, the next refresh binds and compares everything again.
   *
   * @throws {TypeError} If an array is of another type or its buffer detached or resizable.
   * @throws {RangeError} If lengths differ, arrays overlap or hyperparameters do not fit together.
   * @throws {Error} If a step that is running elsewhere uses one of the arrays.
   */
  refresh(): void {
    try {
      this.stateArrays.discard();
      if (this.sparse.steps.length > 0) this.sparse.steps.length = 0;
      this.#groupTable.refresh(this.groups);
      this.#refreshRows();
      if (!this.#groupTable.isModest) this.#checkOverflow();
      this.checkAttached();
      this.stateArrays.prepare();
      this.aliases.check();
      if (this.sparse.steps.length > 0) this.#finishSparse();
      if (hasLocks()) assertAllUnlocked(this);
    } catch (error) {
      this.table.invalidateAll();
      throw error;
    }
  }

  /** Whether `begin` has something to write. */
  get writesBefore(): boolean {
    return this.stateArrays.hasStale;
  }

  /** Writes what a step that is about to be taken changes before its pass. */
  begin(): void {
    this.stateArrays.resetStale();
  }

  /** The step has been taken: new momentum buffers and master weights are remembered. */
  commit(): void {
    this.commitRows(this.table.count);
    if (this.isRandom) countStep(this.#precision.random);
  }

  /** A step ended by an error when the rows before `end` had been stepped: only theirs is remembered. */
  commitRows(end: number): void {
    this.stateArrays.commit(end);
    this.stateArrays.settleStepped(end, (group) => this.#groupTable.isBuffered(group));
  }

  /** A step has been queued that its device may skip: what is new is remembered until that is known. */
  commitUnsure(): void {
    this.stateArrays.commitUnsure(this.table.count);
  }

  /**
   * Writes what the step is asked to do to its gradients, and what clips the norm of each group.
   *
   * @param coefficients One per group; null if no norm is clipped.
   */
  writeCall(request: CallOptions, coefficients: readonly number[] | null): void {
    const { count, words } = this.addends;
    const address = count === 0 ? 0 : this.#address(new Uint32Array(words.buffer));
    writeCall(this.callRow, request, this.#precision.random, { address, count });
    writeAverages(this.callRow, this.#averageTable());
    if (coefficients !== null) this.#groupTable.writeCoefficients(coefficients);
  }

  #averageTable() {
    const { average } = this;
    if (average === null || average.count === 0) return undefined;
    return { address: this.#address(average.halves), ...average.update };
  }

  /** Replaces what is stepped of the sparse gradients, after a refresh, by arrays that nobody else has. */
  replaceSparse(replace: (step: SparseStep) => SparseRows): void {
    const { steps } = this.sparse;
    steps.forEach((step, i) => steps[i] = { ...step, ...replace(step) });
    this.#writeSparse();
  }

  /**
   * Checks that gradients can be written, which they can if no two of them share memory.
   *
   * @throws {RangeError} If two of them overlap.
   */
  checkNoGradientAlias(): void {
    this.aliases.checkGradients();
  }

  /** Refuses hyperparameters that the types of what is stepped cannot hold. */
  #checkOverflow(): void {
    const { table, parameters } = this;
    for (let row = 0; row < table.count; row++) {
      if (table.gradientKind(row) === "none") continue;
      const h = readGroup(this.groupRows, table.groupAt(row));
      checkOverflow(h, updateTypeOf(table.typesAt(row)), parameters[row], row);
    }
  }

  #refreshRows(): void {
    const { parameters, ends, stateArrays: own, table } = this;
    const { datas, grads, buffers } = table;
    const { areShown } = own;
    for (let group = 0, row = 0; group < ends.length; group++) {
      const buffered = this.#groupTable.isBuffered(group);
      const end = ends[group];
      for (; row < end; row++) {
        const { data, grad } = parameters[row];
        // Written out, as a method for it takes a tenth of the time of a step of small tensors.
        const settled = data === datas[row] && grad === grads[row] &&
          (grad === null ? !table.isSparse(row) : buffers[row] !== null || !buffered);
        if (settled && (!areShown || own.findReassigned(row) === null)) continue;
        this.#refreshRow(row, group, data, grad);
      }
    }
  }

  #refreshRow(row: number, group: number, data: Tensor, grad: Tensor | SparseGrad | null): void {
    const { table, stateArrays: own } = this;
    this.#bindData(row, data, group);
    if (grad === null) {
      if (own.findReassigned(row) !== null) own.detachRow(row);
      return table.skip(row);
    }
    own.checkForeign(row);
    if (isSparse(grad)) return this.#refreshSparse(row, group, grad);
    if (grad !== table.grads[row]) {
      this.#checkKind(row, false);
      table.bindGrad(row, grad);
    }
    const { dtype } = table.typesAt(row);
    if (this.#precision.masterWeights && isSixteenBit(dtype)) own.refreshMaster(row);
    const isFirst = own.refreshBuffer(row, this.#groupTable.isBuffered(group));
    table.setState(row, isFirst ? FIRST : stateOfBuffer(table.buffers[row]));
  }

  #refreshSparse(row: number, group: number, grad: SparseGrad): void {
    const { table, stateArrays: own } = this;
    const { dtype } = table.typesAt(row);
    const length = table.lengthAt(row);
    const { shape } = this.parameters[row];
    const rows = readSparse(grad, { dtype, length, shape }, table.name(row, "grad"));
    if (table.hasMomentum8(row)) throw notDense(table.name(row, "grad"));
    this.#checkKind(row, true);
    table.setSparse(row);
    const first = own.refreshBuffer(row, this.#groupTable.isBuffered(group));
    if (length > 0) this.sparse.steps.push({ ...rows, row, first, used: null });
  }

  /** Refuses a gradient of another kind than the one that the momentum buffer began with. */
  #checkKind(row: number, sparse: boolean): void {
    const { table, stateArrays: own } = this;
    const isKnown = own.findReassigned(row) === null && table.has(row, BEGAN_DENSE | BEGAN_SPARSE);
    const began = isKnown ? table.has(row, BEGAN_SPARSE) : null;
    if (!sparse && began !== true) return;
    checkSparseOptions(this.groups[table.groupAt(row)], sparse, began, table.name(row, "grad"));
  }

  /**
   * Runs after everything that could call the user's code, on the arrays that will be used.
   *
   * @throws {TypeError} If one of them is detached.
   */
  checkAttached(): void {
    const detached = findDetached(this.table) ??
      findDetachedSparse(this, nameValues) ?? this.addends.findDetached() ??
      (this.average === null ? null : this.average.findDetached());
    if (detached === null) return;
    throw new TypeError(
      cannot("step", `the buffer of ${detached} was detached or resized since it was checked`),
    );
  }

  /** The checks of overlap for sparse gradients; completes their table. */
  #finishSparse(): void {
    this.aliases.checkValues();
    for (const step of this.sparse.steps) {
      const isBuffered = this.#groupTable.isBuffered(this.table.groupAt(step.row));
      const length = this.table.lengthAt(step.row);
      step.used = isBuffered ? this.table.rowsInUse.of(step, length) : null;
    }
    this.#writeSparse();
  }

  #writeSparse(): void {
    this.sparse.write(
      ({ row }) => this.rows.subarray(row * ROW, (row + 1) * ROW),
      this.#address,
    );
  }
}

function notDense(what: string): TypeError {
  return new TypeError(
    cannot(
      `use ${what}`,
      "it must be an array, not sparse, with momentumBits 8",
      "put its parameter into a group with momentumBits: 32",
    ),
  );
}

function nameValues(grad: string): string {
  return `values of ${grad}`;
}
