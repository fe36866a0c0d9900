/**
 * The plan: what one step touches, as tables that a backend takes in one call.
 *
 * The tables are kept between steps. A row is rewritten only when an array's identity changes; what
 * is checked at every step is that no array was detached or shrunk meanwhile. The plan holds every
 * array whose address is in a table, so that none is collected.
 */

import { Entry } from "./entry.ts";
import { checkAllFree, checkDataApart, gradsOf, writtenOf } from "./entry_spans.ts";
import { isAnyInUse } from "./in_use.ts";
import { checkCombination } from "./options.ts";
import { OwnArrays } from "./own_arrays.ts";
import type { Written } from "./overlap.ts";
import { isSixteenBit } from "./parameter.ts";
import type { Device, Parameter, SparseGrad, Tensor } from "./parameter.ts";
import type { Precision } from "./rounding.ts";
import type { RuleOptions } from "./rule.ts";
import { checkSparseOptions, isSparse, readSparse, SparseTable } from "./sparse.ts";
import type { StepRequest } from "./step_options.ts";
import {
  CALL_ROW,
  COEFFICIENT,
  FIRST,
  GRAD,
  GROUP_ROW,
  LATER,
  MOMENTUM,
  readWord,
  ROW,
  writeCall,
  writeGroup,
} from "./tables.ts";
import type { TensorMemory } from "./tensor_memory.ts";
import { BEGAN_DENSE, BEGAN_SPARSE, TensorTable } from "./tensor_table.ts";

/** Parameters, and what they are stepped by. */
export type PlanGroup = RuleOptions & { readonly params: readonly Parameter<Tensor>[] };

/** The tables of one optimizer. */
export class Plan {
  /** The tensor table. */
  readonly table: TensorTable;
  /** The momentum buffers and master weights of its rows. */
  readonly own: OwnArrays;
  /** The group table: `GROUP_ROW` words per group. */
  groupRows: Float64Array<ArrayBuffer> = new Float64Array(0);
  /** What the step at hand was asked to do to its gradients: `CALL_ROW` words. */
  readonly callRow: Float64Array<ArrayBuffer> = new Float64Array(CALL_ROW);
  /** The groups, in the order of the group rows; their parameters are in that of the tensor rows. */
  groups: readonly PlanGroup[] = [];
  /** The parameters whose gradients are sparse; in `rows` they count as having none. */
  readonly sparse = new SparseTable();
  /** The devices that some of the rows are on. */
  devices: readonly Device[] = [];
  /** Whether some of the rows are in JavaScript's memory. */
  hasArrays = true;

  readonly #address: TensorMemory["address"];
  readonly #precision: Precision;
  /** The first row of each group. */
  #firsts: readonly number[] = [];
  /** Made again where it is needed: it takes a quarter of the table's memory. */
  #written: Written | null = null;

  /**
   * @param memory Where arrays are, and come from.
   * @param precision What holds for parameters in 16-bit types.
   */
  constructor(memory: TensorMemory, precision: Precision) {
    const { address } = memory;
    this.table = new TensorTable({
      ...{ address, precision },
      parameterAt: (row) => this.parameterAt(row),
    });
    this.own = new OwnArrays(this.table, memory);
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

  /** The parameter of a row. */
  parameterAt(row: number): Parameter<Tensor> {
    const group = this.#firsts.findLastIndex((first) => first <= row);
    return this.groups[group].params[row - this.#firsts[group]];
  }

  /** A row as an object. */
  entryAt(row: number): Entry {
    return new Entry(this.table, this.parameterAt(row), row);
  }

  /** All rows as objects, one at a time. */
  *entries(): Generator<Entry> {
    for (let row = 0; row < this.table.count; row++) yield this.entryAt(row);
  }

  /**
   * Adds groups and their parameters.
   *
   * @throws {RangeError} If their data overlap what there is, or a parameter is there twice; none is
   * added then.
   */
  add(groups: readonly PlanGroup[]): void {
    const { count } = this.table;
    const before = [this.groups, this.#firsts] as const;
    let end = count;
    const firsts = groups.map(({ params }) => (end += params.length) - params.length);
    this.groups = [...this.groups, ...groups];
    this.#firsts = [...this.#firsts, ...firsts];
    this.table.resize(end);
    try {
      this.refreshData();
      checkDataApart(this.table, (row) => this.parameterAt(row));
    } catch (error) {
      this.table.resize(count);
      [this.groups, this.#firsts] = before;
      throw error;
    }
    this.own.grow();
  }

  /** Brings the data of all rows up to date. */
  refreshData(): void {
    let row = 0;
    for (const [index, { params }] of this.groups.entries()) {
      for (let i = 0; i < params.length; i++, row++) {
        const { data } = params[i];
        if (data !== this.table.datas[row]) this.table.bindData(row, data, index);
      }
    }
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
      this.own.drop();
      if (this.sparse.steps.length > 0) this.sparse.steps.length = 0;
      this.#refreshGroups();
      this.#refreshRows();
      this.own.place();
      if (this.table.writtenChanged) this.table.survey();
      this.#checkAttached();
      if (this.table.writtenChanged) this.#checkAll();
      else if (this.table.newGrads.length > 0) this.#checkNewGrads();
      if (this.sparse.steps.length > 0) this.#finishSparse();
      if (isAnyInUse()) checkAllFree(this);
    } catch (error) {
      this.table.forget();
      throw error;
    }
  }

  /** Records that the step has been taken: new momentum buffers and master weights are remembered. */
  commit(): void {
    this.own.begin();
    if (this.isRandom) this.#precision.random.counter++;
  }

  /**
   * Writes what the step is asked to do to its gradients, and what clips the norm of each group.
   *
   * @param coefficients One per group; null if no norm is clipped.
   */
  ask(request: StepRequest, coefficients: readonly number[] | null): void {
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
  checkGradsApart(): void {
    const { table, sparse } = this;
    if (!table.gradsChanged && sparse.steps.length === 0) return;
    const grads = gradsOf(table);
    for (const { row, values } of sparse.steps) {
      this.#checkApart(grads, this.#address(values), values.byteLength, row, "values of ");
    }
    table.gradsChanged = false;
  }

  #refreshGroups(): void {
    const { groups } = this;
    const words = groups.length * GROUP_ROW;
    if (this.groupRows.length !== words) this.groupRows = new Float64Array(words);
    const { groupRows } = this;
    for (let i = 0, at = 0; i < groups.length; i++, at += GROUP_ROW) {
      const h = groups[i];
      checkCombination(h);
      writeGroup(groupRows, at, h);
    }
  }

  #refreshRows(): void {
    const { groups, own, table: { datas, grads, buffers } } = this;
    for (let group = 0, row = 0; group < groups.length; group++) {
      const { params } = groups[group];
      const buffered = this.#isBuffered(group);
      for (let i = 0; i < params.length; i++, row++) {
        const { data, grad } = params[i];
        const settled = data === datas[row] && grad === grads[row] &&
          (buffers[row] !== null || grad === null || !buffered) && own.findReplaced(row) === null;
        if (!settled) this.#refreshRow(row, group, data, grad);
      }
    }
  }

  #isBuffered(group: number): boolean {
    return this.groupRows[group * GROUP_ROW + MOMENTUM] !== 0;
  }

  #refreshRow(row: number, group: number, data: Tensor, grad: Tensor | SparseGrad | null): void {
    const { table, own } = this;
    if (data !== table.datas[row]) table.bindData(row, data, group);
    if (grad === null) return table.skip(row);
    if (isSparse(grad)) return this.#refreshSparse(row, grad);
    if (grad !== table.grads[row]) {
      this.#checkKind(row, false);
      table.bindGrad(row, grad);
    }
    const { dtype } = table.typesAt(row);
    if (this.#precision.masterWeights && isSixteenBit(dtype)) own.refreshMaster(row);
    table.setState(row, own.refreshBuffer(row, this.#isBuffered(group)) ? FIRST : LATER);
    table.settle(row);
  }

  #refreshSparse(row: number, grad: SparseGrad): void {
    const { table, own } = this;
    const { dtype } = table.typesAt(row);
    const length = table.lengthAt(row);
    const { shape } = this.parameterAt(row);
    const rows = readSparse(grad, { dtype, length, shape }, table.name(row, "grad"));
    this.#checkKind(row, true);
    table.skip(row);
    const first = own.refreshBuffer(row, this.#isBuffered(table.groupAt(row)));
    table.settle(row);
    if (length > 0) this.sparse.steps.push({ ...rows, row, first });
  }

  /** Refuses a gradient of another kind than the one that the momentum buffer began with. */
  #checkKind(row: number, sparse: boolean): void {
    const { table, own } = this;
    const isKnown = own.findReplaced(row) === null && table.has(row, BEGAN_DENSE | BEGAN_SPARSE);
    const began = isKnown ? table.has(row, BEGAN_SPARSE) : null;
    if (!sparse && began !== true) return;
    checkSparseOptions(this.groups[table.groupAt(row)], sparse, began, table.name(row, "grad"));
  }

  /** Runs after everything that could call the user's code, on the arrays that will be used. */
  #checkAttached(): void {
    const detached = this.table.findDetached();
    if (detached !== null) throw detachedError(detached);
  }

  #checkAll(): void {
    const { table } = this;
    const places = new Set<Device | undefined>();
    for (let row = 0; row < table.count; row++) places.add(table.typesAt(row).dtype.device);
    this.hasArrays = places.delete(undefined);
    this.devices = [...places] as Device[];
    this.#written = writtenOf(table);
    for (let row = 0; row < table.count; row++) this.#checkGrad(row, this.#written);
    if (this.sparse.steps.length === 0) this.#written = null;
    table.newGrads.length = 0;
    table.writtenChanged = false;
  }

  #checkNewGrads(): void {
    const { newGrads } = this.table;
    this.#written ??= writtenOf(this.table);
    for (const row of newGrads) this.#checkGrad(row, this.#written);
    newGrads.length = 0;
  }

  #checkGrad(row: number, written: Written): void {
    const { table } = this;
    if (table.grads[row] === null) return;
    const bytes = table.lengthAt(row) * table.typesAt(row).dtype.bytes;
    this.#checkApart(written, readWord(table.halves, row * ROW + GRAD), bytes, row, "");
  }

  #checkApart(written: Written, start: number, bytes: number, row: number, part: string): void {
    if (!written.meets(start, start + bytes)) return;
    throw written.refusal(start, start + bytes, part + this.table.name(row, "grad"));
  }

  /** As `#checkAttached` and the checks of overlap, for sparse gradients; completes their table. */
  #finishSparse(): void {
    this.#written ??= writtenOf(this.table);
    for (const { row, values, indices, columns } of this.sparse.steps) {
      const isAttached = values.length === indices.length * columns;
      const detached = isAttached
        ? this.table.findDetachedOf(row)
        : `values of ${this.table.name(row, "grad")}`;
      if (detached !== null) throw detachedError(detached);
      this.#checkApart(this.#written, this.#address(values), values.byteLength, row, "values of ");
    }
    this.sparse.write(
      ({ row }) => this.rows.subarray(row * ROW, (row + 1) * ROW),
      this.#address,
    );
  }
}

function detachedError(what: string): TypeError {
  return new TypeError(
    `Cannot step as the buffer of ${what} was detached or resized since the last step`,
  );
}
