/**
 * The plan: what one step touches, as tables that a backend takes in one call.
 *
 * The tables are kept between steps. A row is rewritten only when an array's identity changes; what
 * is checked at every step is that no array was detached or shrunk meanwhile. The plan holds every
 * array whose address is in a table, so that none is collected.
 */

import { detachedError, Entry } from "./entry.ts";
import type { ParameterState } from "./entry.ts";
import { checkAllFree, gradsOf, writtenOf } from "./entry_spans.ts";
import { isAnyInUse } from "./in_use.ts";
import { checkLike } from "./like.ts";
import { load } from "./convert.ts";
import { checkCombination } from "./options.ts";
import type { RuleOptions } from "./rule.ts";
import { Written } from "./overlap.ts";
import { FLOAT32, isSixteenBit } from "./parameter.ts";
import type { Device, HostArray, Parameter, SparseGrad, Tensor } from "./parameter.ts";
import type { Precision } from "./rounding.ts";
import { checkSparseOptions, isSparse, readSparse, SparseTable } from "./sparse.ts";
import type { StepRequest } from "./step_options.ts";
import { TensorTable } from "./tensor_table.ts";
import type { TensorMemory } from "./tensor_table.ts";
import {
  CALL_ROW,
  COEFFICIENT,
  FIRST,
  GRAD,
  GROUP_ROW,
  LATER,
  MASTER,
  readWord,
  ROW,
  SKIP,
  writeCall,
  writeGroup,
} from "./tables.ts";

const NOTHING_WRITTEN = new Written({ count: 0, startOf: Number, bytesOf: Number, nameOf: String });

/** The tables of one optimizer. */
export class Plan {
  /** The tensor table. */
  readonly table: TensorTable;
  /** The group table: `GROUP_ROW` words per group. */
  groupRows = new Float64Array(0);
  /** What the step at hand was asked to do to its gradients: `CALL_ROW` words. */
  readonly callRow = new Float64Array(CALL_ROW);
  /** The parameters, in the order of the rows. */
  readonly entries: Entry[] = [];
  /** The groups' hyperparameters, in the order of the group rows. */
  readonly groups: RuleOptions[] = [];
  /** The parameters whose gradients are sparse; in `rows` they count as having none. */
  readonly sparse = new SparseTable();
  /** The devices that some of the rows are on. */
  devices: readonly Device[] = [];
  /** Whether some of the rows are in JavaScript's memory. */
  hasArrays = true;

  readonly #address: TensorMemory["address"];
  readonly #allocate: TensorMemory["allocate"];
  readonly #precision: Precision;
  readonly #started: Entry[] = [];
  readonly #copied: Entry[] = [];
  #written = NOTHING_WRITTEN;

  /**
   * @param memory Where arrays are, and come from.
   * @param precision What holds for parameters in 16-bit types.
   */
  constructor({ address, allocate }: TensorMemory, precision: Precision) {
    this.table = new TensorTable(address, precision);
    this.#address = address;
    this.#allocate = allocate;
    this.#precision = precision;
  }

  /** The rows of the tensor table: `ROW` words of 64 bits per parameter. */
  get rows(): BigUint64Array<ArrayBuffer> {
    return this.table.rows;
  }

  /** Whether steps draw random bits: they need a call row then. */
  get isRandom(): boolean {
    return this.#precision.rounding === "stochastic";
  }

  /** Adds a group and its parameters. */
  add(
    group: RuleOptions,
    members: readonly { parameter: Parameter<Tensor>; state: ParameterState }[],
  ) {
    const index = this.groups.push(group) - 1;
    for (const { parameter, state } of members) {
      this.entries.push(new Entry(parameter, state, index, this.entries.length));
    }
    this.#forget();
  }

  /**
   * Brings the tables up to date and checks everything that a step relies on. Momentum buffers that
   * are needed for the first time are made, but belong to no state until `commit`.
   *
   * @throws {TypeError} If an array is of another type or its buffer detached or resizable.
   * @throws {RangeError} If lengths differ, arrays overlap or hyperparameters do not fit together.
   * @throws {Error} If a step that is running elsewhere uses one of the arrays.
   */
  refresh(): void {
    try {
      empty(this.sparse.steps);
      empty(this.#started);
      empty(this.#copied);
      this.table.resize(this.entries.length);
      this.#refreshGroups();
      this.#refreshEntries();
      if (this.#started.length > 0) this.#start();
      this.#checkAttached();
      if (this.table.writtenChanged) this.#checkAll();
      else for (const entry of this.table.newGrads) this.#checkGrad(entry);
      empty(this.table.newGrads);
      if (this.sparse.steps.length > 0) this.#finishSparse();
      if (isAnyInUse()) checkAllFree(this);
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  /** Records that the step has been taken: new momentum buffers and master weights become state. */
  commit(): void {
    for (const entry of this.#started) {
      entry.state.momentumBuffer = entry.buffer;
      entry.begun = entry.buffer;
      entry.begunSparse = entry.grad === null;
    }
    for (const entry of this.#copied) entry.state.masterWeight = entry.master;
    empty(this.#started);
    empty(this.#copied);
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
    const { entries, sparse } = this;
    if (!this.table.gradsChanged && sparse.steps.length === 0) return;
    const written = gradsOf(this);
    for (const { row, values } of sparse.steps) {
      const start = this.#address(values);
      const what = () => `values of ${entries[row].name("grad")}`;
      written.check(start, start + values.byteLength, what);
    }
    this.table.gradsChanged = false;
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

  #refreshEntries(): void {
    const { entries, table } = this;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i];
      const { parameter: { data, grad }, state: { momentumBuffer: buffer, masterWeight } } = entry;
      const settled = grad !== null && buffer !== null && data === entry.data &&
        grad === entry.grad && buffer === entry.buffer && masterWeight === entry.master;
      if (settled) table.setState(entry, LATER);
      else this.#refreshEntry(entry, data, grad, buffer);
    }
  }

  #refreshEntry(
    entry: Entry,
    data: Tensor,
    grad: Tensor | null,
    buffer: Tensor | null,
  ): void {
    if (data !== entry.data) this.table.bindData(entry, data);
    if (grad === null) {
      entry.grad = null;
      this.table.setState(entry, SKIP);
      return;
    }
    if (grad !== entry.grad) {
      if (isSparse(grad)) return this.#refreshSparse(entry, grad, buffer);
      this.#checkKind(entry, buffer, false);
      this.table.bindGrad(entry, grad);
    }
    this.#refreshMaster(entry);
    this.table.setState(entry, this.#refreshBuffer(entry, buffer));
  }

  /** Brings the momentum buffer up to date and returns the row's state. */
  #refreshBuffer(entry: Entry, buffer: Tensor | null): number {
    if (buffer === null) {
      if (this.groupRows[entry.group * GROUP_ROW + 1] !== 0) this.#started.push(entry);
      return FIRST;
    }
    if (buffer !== entry.buffer) this.table.bindBuffer(entry, buffer);
    return LATER;
  }

  /** Brings the master weight up to date; one that is made here is state once the step is taken. */
  #refreshMaster(entry: Entry): void {
    if (!this.#precision.masterWeights || !isSixteenBit(entry.dtype!)) return;
    const { data, length, state: { masterWeight } } = entry;
    if (masterWeight === null) {
      const copy = new Float32Array(length);
      load(data as HostArray, copy);
      this.table.setMaster(entry, copy);
      this.#copied.push(entry);
    } else if (masterWeight !== entry.master) {
      const like = { dtype: FLOAT32, length, reason: "as all master weights" };
      checkLike(masterWeight, like, entry.name("master weight"));
      this.table.setMaster(entry, masterWeight);
    }
  }

  #refreshSparse(entry: Entry, grad: SparseGrad, buffer: Tensor | null): void {
    const { length, index, dtype, parameter: { shape } } = entry;
    const rows = readSparse(grad, { dtype: dtype!, length, shape }, entry.name("grad"));
    this.#checkKind(entry, buffer, true);
    entry.grad = null;
    this.table.setState(entry, SKIP);
    if (buffer === null) entry.buffer = null; // only new buffers are all zeros
    const first = this.#refreshBuffer(entry, buffer) === FIRST;
    if (length > 0) this.sparse.steps.push({ ...rows, row: index, first });
  }

  /** As `#checkAttached` and the checks of overlap, for sparse gradients; completes their table. */
  #finishSparse(): void {
    for (const { row, values, indices, columns } of this.sparse.steps) {
      const entry = this.entries[row];
      const what = `values of ${entry.name("grad")}`;
      if (values.length !== indices.length * columns) throw detachedError(what);
      entry.checkAttached();
      const start = this.#address(values);
      this.#written.check(start, start + values.byteLength, () => what);
    }
    this.sparse.write(
      ({ row }) => this.rows.subarray(row * ROW, row * ROW + MASTER),
      this.#address,
    );
  }

  #checkKind(entry: Entry, buffer: Tensor | null, sparse: boolean): void {
    const began = buffer === null || entry.begun !== buffer ? null : entry.begunSparse;
    if (!sparse && began !== true) return;
    checkSparseOptions(this.groups[entry.group], sparse, began, entry.name("grad"));
  }

  /** Runs after everything that could call the user's code, on the arrays that will be used. */
  #checkAttached(): void {
    const { entries } = this;
    for (let i = 0; i < entries.length; i++) {
      if (entries[i].grad !== null) entries[i].checkAttached();
    }
  }

  /** First steps with momentum: the buffers are made here, and are state once the step is taken. */
  #start(): void {
    const wanted = this.#started.map(({ bufferType, length }) => ({ dtype: bufferType!, length }));
    const buffers = this.#allocate(wanted);
    this.#started.forEach((entry, i) => this.table.setBuffer(entry, buffers[i]));
  }

  #checkAll(): void {
    const places = new Set(this.entries.map(({ dtype }) => dtype!.device));
    this.hasArrays = places.delete(undefined);
    this.devices = [...places] as Device[];
    this.#written = writtenOf(this);
    for (const entry of this.entries) {
      if (entry.grad !== null) this.#checkGrad(entry);
    }
    this.table.writtenChanged = false;
  }

  #checkGrad(entry: Entry): void {
    const start = readWord(this.table.halves, entry.index * ROW + GRAD);
    const end = start + entry.length * entry.dtype!.bytes;
    this.#written.check(start, end, () => entry.name("grad"));
  }

  /** After an error nothing that was half checked is trusted: the next step checks all again. */
  #forget(): void {
    for (const entry of this.entries) {
      entry.data =
        entry.grad =
        entry.buffer =
        entry.master =
          null;
    }
    empty(this.table.newGrads);
    this.table.writtenChanged = this.table.gradsChanged = true;
  }
}

/** Setting a length costs as much as the rest of a small step. */
function empty(array: unknown[]): void {
  if (array.length > 0) array.length = 0;
}
