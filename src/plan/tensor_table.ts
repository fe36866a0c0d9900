/** The tensor table: writes arrays into rows and tracks which of them have been validated. */

import { bufferError, checkMatches, isFixed, matchesSpec } from "../core/array_checks.ts";
import { elementTypeOf, findElementType, FLOAT32, lengthIn } from "../core/dtype.ts";
import type { ElementType, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { nameArray } from "../core/parameter.ts";
import type { ArrayName, Parameter } from "../core/parameter.ts";
import { bufferTypeOf, checkDevice, codeOf } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { isObject, objectOf, Slab } from "../memory/slab.ts";
import type { StateArray } from "../memory/slab.ts";
import {
  BUFFER,
  codeIn,
  DATA,
  GRAD,
  groupOf,
  LENGTH,
  MASTER,
  readWord,
  ROW,
  SKIP,
  writeKind,
  writeState,
  writeWord,
} from "./layout.ts";

/** What rows of one number for a dtype have in common. */
interface Types {
  readonly dtype: ElementType;
  /** That of momentum buffers. */
  readonly bufferType: ElementType;
}

/** Where a plan finds what its rows are about. */
interface Source {
  /** Where an array's bytes begin, as the backend reads it from the table. */
  readonly address: (array: Tensor) => number;
  readonly parameterAt: (row: number) => Parameter<Tensor>;
  /** Lets go of what the row holds of the optimizer's own, as its type or length changes. */
  readonly release: (row: number) => void;
  readonly precision: Precision;
}

/** The momentum buffer is made for the step at hand; it is not remembered before that is taken. */
export const BUFFER_IS_NEW = 1;

/** The master weight likewise. */
export const MASTER_IS_NEW = 2;

/** The momentum buffer began with a dense gradient, or with a sparse one, if that is known. */
export const BEGAN_DENSE = 4;

export const BEGAN_SPARSE = 8;

/** Stands for data that a row has to be written anew for. */
const UNBOUND: Tensor = new Float32Array(0);

/** Rows that one call beside JavaScript's thread steps: `from <= row < to`. */
export interface Part {
  readonly from: number;
  readonly to: number;
  /** One array on each buffer that the rows use: what the call keeps alive. */
  readonly pins: readonly ArrayBufferView[];
}

/** Columns of what rows are written from. Together with its row a parameter takes some 80 bytes. */
export class TensorTable {
  /** `ROW` words of 64 bits per parameter. */
  rows: BigUint64Array<ArrayBuffer> = new BigUint64Array(0);
  /** The same words in halves, which take numbers as they are. */
  halves: Uint32Array = new Uint32Array(0);
  /** The arrays of the parameters. */
  datas: Tensor[] = [];
  /** Their gradients; null where there is none, or a sparse one. */
  grads: (Tensor | null)[] = [];
  /** Their momentum buffers; null before they have one. */
  buffers: (StateArray | null)[] = [];
  /** Empty if there are none at all. */
  masters: (StateArray<Float32Array> | null)[] = [];
  /** Bits such as `BUFFER_IS_NEW`. */
  marks: Uint8Array = new Uint8Array(0);
  /** Whether what a step writes is not known to lie apart from everything else. */
  writtenChanged = true;
  /** Whether the gradients are not known to lie apart from each other. */
  gradsChanged = true;
  /** The rows whose gradients are not known to lie apart from what a step writes. */
  readonly newGrads: number[] = [];
  /**
   * Whether some of the optimizer's own arrays are objects. Those on slabs have been seen by nobody:
   * nothing can overlap or detach them.
   */
  hasObjects = false;
  /** The parts in which rows were stepped; null once a row has another array. */
  parts: readonly Part[] | null = null;
  readonly #types: Types[] = [];
  readonly #source: Source;

  constructor(source: Source) {
    this.#source = source;
  }

  /** The number of rows. */
  get count(): number {
    return this.datas.length;
  }

  /** Makes room for so many rows; those that stay are as they were. */
  resize(count: number): void {
    this.parts = null;
    const kept = Math.min(count, this.count);
    const rows = new BigUint64Array(count * ROW);
    rows.set(this.rows.subarray(0, kept * ROW));
    this.rows = rows;
    this.halves = new Uint32Array(rows.buffer);
    const marks = new Uint8Array(count);
    marks.set(this.marks.subarray(0, kept));
    this.marks = marks;
    this.datas = resized(this.datas, count, UNBOUND);
    this.grads = resized(this.grads, count, null);
    this.buffers = resized(this.buffers, count, null);
    if (this.#source.precision.masterWeights) this.masters = resized(this.masters, count, null);
  }

  /** The number of elements. */
  lengthAt(row: number): number {
    return readWord(this.halves, row * ROW + LENGTH);
  }

  /** The types of its arrays. */
  typesAt(row: number): Types {
    return this.#types[codeIn(this.halves, row)];
  }

  /** The number of its group. */
  groupAt(row: number): number {
    return groupOf(this.halves, row);
  }

  /** Whether the momentum buffer has never been written. */
  isFirst(row: number): boolean {
    return this.buffers[row] === null || this.has(row, BUFFER_IS_NEW);
  }

  /** The momentum buffer; one on a slab is made an object for the caller. */
  bufferAt(row: number): Tensor | null {
    const held = this.buffers[row];
    if (held === null) return null;
    const address = readWord(this.halves, row * ROW + BUFFER);
    return objectOf(held, this.typesAt(row).bufferType, address, this.lengthAt(row));
  }

  /** The master weight, likewise. */
  masterAt(row: number): Float32Array | null {
    const held = this.masters[row] ?? null;
    if (held === null) return null;
    const address = readWord(this.halves, row * ROW + MASTER);
    return objectOf(held, FLOAT32, address, this.lengthAt(row)) as Float32Array;
  }

  /** Whether it has one of some marks. */
  has(row: number, mark: number): boolean {
    return (this.marks[row] & mark) !== 0;
  }

  /** Sets a mark. */
  mark(row: number, mark: number): void {
    this.marks[row] |= mark;
  }

  /** Takes marks away. */
  unmark(row: number, marks: number): void {
    this.marks[row] &= ~marks;
  }

  /** Sets its state: `SKIP`, `FIRST` or `LATER`. */
  setState(row: number, state: number): void {
    writeState(this.halves, row, state);
  }

  /** A row without a gradient. The next one is new to it. */
  skip(row: number): void {
    this.parts = null;
    this.grads[row] = null;
    this.setState(row, SKIP);
  }

  /** A parameter's data, with which its gradient is looked at anew. */
  bindData(row: number, data: Tensor, group: number): void {
    const { precision, address, release } = this.#source;
    const dtype = findElementType(data);
    if (dtype === undefined || !isFixed(data)) return this.#refuseData(row, data);
    if (dtype.device !== undefined) checkDevice(dtype, precision, this.name(row, "data"));
    const code = codeOf(dtype, precision.rounding);
    const length = lengthIn(data, dtype);
    if (code !== codeIn(this.halves, row) || length !== this.lengthAt(row)) release(row);
    this.#types[code] ??= { dtype, bufferType: bufferTypeOf(dtype, precision.rounding) };
    this.parts = null;
    this.datas[row] = data;
    this.grads[row] = null;
    writeWord(this.halves, row * ROW + DATA, address(data));
    writeWord(this.halves, row * ROW + LENGTH, length);
    writeKind(this.halves, row, code, group);
    this.writtenChanged = true;
  }

  #refuseData(row: number, data: Tensor): never {
    const what = this.name(row, "data");
    elementTypeOf(data, what);
    throw bufferError(data, what);
  }

  /** Its gradient. */
  bindGrad(row: number, grad: Tensor): void {
    const { dtype } = this.typesAt(row);
    const length = this.lengthAt(row);
    if (!matchesSpec(grad, dtype, length)) {
      checkMatches(grad, { dtype, length }, this.name(row, "grad"));
    }
    this.parts = null;
    this.grads[row] = grad;
    this.gradsChanged = true;
    writeWord(this.halves, row * ROW + GRAD, this.#source.address(grad));
    if (!this.writtenChanged) this.newGrads.push(row); // else all are looked at
  }

  /** Its momentum buffer, if that is not the one it had. */
  bindBuffer(row: number, buffer: StateArray): void {
    if (buffer === this.buffers[row] || buffer instanceof Slab) return;
    const { dtype, bufferType } = this.typesAt(row);
    const length = this.lengthAt(row);
    const reason = dtype === bufferType
      ? undefined
      : `as rounding "${this.#source.precision.rounding}" needs it`;
    checkMatches(buffer, { dtype: bufferType, length, reason }, this.name(row, "momentum buffer"));
    this.holdBuffer(row, buffer, this.#source.address(buffer));
  }

  /** Its master weight, if that is not the one it had. */
  bindMaster(row: number, master: StateArray<Float32Array>): void {
    if (master === this.masters[row] || master instanceof Slab) return;
    const like = { dtype: FLOAT32, length: this.lengthAt(row), reason: "as all master weights" };
    checkMatches(master, like, this.name(row, "master weight"));
    this.holdMaster(row, master, this.#source.address(master));
  }

  /** A momentum buffer that fits, and its address; null for none. */
  holdBuffer(row: number, buffer: StateArray | null, address: number): void {
    this.parts = null;
    this.buffers[row] = buffer;
    this.unmark(row, BEGAN_DENSE | BEGAN_SPARSE);
    writeWord(this.halves, row * ROW + BUFFER, address);
    this.writtenChanged = true;
  }

  /** A master weight likewise. */
  holdMaster(row: number, master: StateArray<Float32Array> | null, address: number): void {
    this.parts = null;
    this.masters[row] = master;
    writeWord(this.halves, row * ROW + MASTER, address);
    this.writtenChanged = true;
  }

  /** Makes objects of what the row has on slabs. */
  materialize(row: number): void {
    this.parts = null;
    this.buffers[row] = this.bufferAt(row);
    if (this.masters.length > 0) this.masters[row] = this.masterAt(row);
    this.writtenChanged = true;
  }

  /** Takes out what the row has of the optimizer's own, also what is new. */
  clearState(row: number): void {
    this.holdBuffer(row, null, 0);
    if (this.masters.length > 0) this.holdMaster(row, null, 0);
    this.unmark(row, BUFFER_IS_NEW | MASTER_IS_NEW);
    this.skip(row);
  }

  /** After an error no data and no gradient is trusted: the next step checks all of them again. */
  invalidateAll(): void {
    this.parts = null;
    this.datas.fill(UNBOUND);
    this.grads.fill(null);
    this.newGrads.length = 0;
    this.writtenChanged = this.gradsChanged = true;
  }

  /** Finds out whether some of the optimizer's own arrays are objects. */
  updateHasObjects(): void {
    this.hasObjects = this.buffers.some(isObject) || this.masters.some(isObject);
  }

  /**
   * Looks for arrays of a step that are not as long as they were when their rows were written.
   *
   * Their memory is fixed, so they are, or they have no elements left at all. No property and no class
   * can pretend that a typed array has an element, and looking at one is faster than any getter.
   *
   * @returns The name of the first one; null if there is none.
   */
  findDetached(): string | null {
    const { datas, grads, hasObjects } = this;
    for (let row = 0; row < grads.length; row++) {
      const grad = grads[row];
      if (grad === null) continue;
      if (hasElements(datas[row]) && hasElements(grad) && !hasObjects) continue;
      const name = this.findDetachedOf(row);
      if (name !== null) return name;
    }
    return null;
  }

  /** The same for the data of all parameters, also of those that are skipped. */
  findDetachedData(): string | null {
    const row = this.datas.findIndex((data, row) => !hasElements(data) && !this.hasDataAt(row));
    return row < 0 ? null : this.name(row, "data");
  }

  /** The same for one row. */
  findDetachedOf(row: number): string | null {
    const { bufferType } = this.typesAt(row);
    const grad = this.grads[row];
    if (!this.hasDataAt(row)) return this.name(row, "data");
    if (grad !== null && !this.#fits(row, grad)) return this.name(row, "grad");
    if (!this.hasObjects) return null;
    const [buffer, master] = [this.buffers[row], this.masters[row] ?? null];
    const isGone = isObject(buffer) && !this.#fits(row, buffer, bufferType);
    if (isGone) return this.name(row, "momentum buffer");
    const isMasterGone = isObject(master) && !this.#fits(row, master, FLOAT32);
    return isMasterGone ? this.name(row, "master weight") : null;
  }

  /** Whether a row's data are as long as they were when it was written. */
  hasDataAt(row: number): boolean {
    return this.#fits(row, this.datas[row]);
  }

  #fits(row: number, tensor: Tensor, type: ElementType = this.typesAt(row).dtype): boolean {
    const length = this.lengthAt(row);
    // An array without elements is as long as before when its buffer has gone.
    return lengthIn(tensor, type) === length && (length > 0 || isFixed(tensor));
  }

  /** What error messages call one of a parameter's arrays. */
  name(row: number, array: ArrayName): string {
    return nameArray(this.#source.parameterAt(row), row, array);
  }
}

/** Whether it is an array that is not empty, and so not detached. Tensors on devices never seem so. */
function hasElements(tensor: Tensor): boolean {
  return (tensor as HostArray)[0] !== undefined;
}

/** The same column of another length. Pushing would leave room for half as many more. */
function resized<T>(column: readonly T[], count: number, empty: T): T[] {
  const other: T[] = new Array(count).fill(empty);
  for (let i = 0; i < Math.min(count, column.length); i++) other[i] = column[i];
  return other;
}

/** A parameter with the arrays that its row was written from. It keeps none of them. */
export class RowView {
  readonly #table: TensorTable;

  constructor(
    table: TensorTable,
    readonly parameter: Parameter<Tensor>,
    readonly index: number,
  ) {
    this.#table = table;
  }

  get data(): Tensor {
    return this.#table.datas[this.index];
  }

  /** Null also where the gradient is sparse. */
  get grad(): Tensor | null {
    return this.#table.grads[this.index];
  }

  /** The momentum buffer, also one that is new in the step at hand; an object made for the caller. */
  get buffer(): Tensor | null {
    return this.#table.bufferAt(this.index);
  }

  /** The master weight, likewise. */
  get master(): Float32Array | null {
    return this.#table.masterAt(this.index);
  }

  get length(): number {
    return this.#table.lengthAt(this.index);
  }

  get dtype(): ElementType {
    return this.#table.typesAt(this.index).dtype;
  }

  /** The type that momentum buffers have. */
  get bufferType(): ElementType {
    return this.#table.typesAt(this.index).bufferType;
  }

  get group(): number {
    return this.#table.groupAt(this.index);
  }

  /** Whether the momentum buffer has never been written. */
  get isFirst(): boolean {
    return this.#table.isFirst(this.index);
  }

  /** What error messages call one of the parameter's arrays. */
  name(array: ArrayName): string {
    return nameArray(this.parameter, this.index, array);
  }
}
