/** The tensor table: writes arrays into rows and tracks which of them have been validated. */

import { bufferError, checkMatches, isFixed, matchesSpec } from "../core/array_checks.ts";
import { elementTypeOf, findElementType, FLOAT32, lengthIn } from "../core/dtype.ts";
import type { Device, ElementType, Tensor } from "../core/dtype.ts";
import { nameArray } from "../core/parameter.ts";
import type { ArrayName, Parameter } from "../core/parameter.ts";
import { bufferTypeOf, checkDevice, codeOf } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { isObject, objectOf, Slab } from "../memory/slab.ts";
import type { StateArray } from "../memory/slab.ts";
import { Changes } from "./changes.ts";
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

/** The types of the arrays of a row. */
interface RowTypes {
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

/** The momentum buffer was made for the current step, and is remembered once that has been taken. */
export const BUFFER_IS_NEW = 1;

/** The master weight was made for the current step, and is remembered once that has been taken. */
export const MASTER_IS_NEW = 2;

/** The momentum buffer began with a dense gradient, or with a sparse one, if that is known. */
export const BEGAN_DENSE = 4;

export const BEGAN_SPARSE = 8;

/**
 * The gradient of the row is sparse: `SparseTable` has it, with a state of its own. Backends see the
 * row as `SKIP`, as the call that steps dense rows leaves it out.
 */
const SPARSE = 16;

/** Stands for data that a row has to be written anew for. */
const UNBOUND: Tensor = new Float32Array(0);

/** What kind of gradient a row has. One on a device is dense, too. */
export type GradientKind = "none" | "dense" | "sparse" | "device";

/** On which devices the rows of a table are. */
interface Locations {
  readonly devices: readonly Device[];
  /** Whether some rows are in JavaScript's memory. */
  readonly hasArrays: boolean;
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
  /** What the alias checks have not seen yet. */
  readonly changes = new Changes();
  /** How many of the optimizer's own arrays are objects. */
  #objects = 0;
  /** Null until it is needed, and again once a row has other data. */
  #locations: Locations | null = null;
  readonly #types: RowTypes[] = [];
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
    this.changes.recordWritten();
    this.#locations = null;
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
  typesAt(row: number): RowTypes {
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

  /** What kind of gradient it has. */
  gradientKind(row: number): GradientKind {
    if (this.grads[row] === null) return this.isSparse(row) ? "sparse" : "none";
    return this.typesAt(row).dtype.device === undefined ? "dense" : "device";
  }

  /** Whether its gradient is sparse. */
  isSparse(row: number): boolean {
    return this.has(row, SPARSE);
  }

  /**
   * Whether some of the optimizer's own arrays are objects. Nobody has seen those on slabs: nothing can
   * overlap or detach them.
   */
  get hasObjects(): boolean {
    return this.#objects > 0;
  }

  /** The devices that some of the rows are on. */
  get devices(): readonly Device[] {
    return (this.#locations ??= this.#locate()).devices;
  }

  /** Whether some of the rows are in JavaScript's memory. */
  get hasArrays(): boolean {
    return (this.#locations ??= this.#locate()).hasArrays;
  }

  #locate(): Locations {
    const devices = this.#collectDevices();
    const hasArrays = devices.delete(undefined);
    return { devices: [...devices] as Device[], hasArrays };
  }

  #collectDevices(): Set<Device | undefined> {
    const devices = new Set<Device | undefined>();
    for (let row = 0; row < this.count; row++) devices.add(this.typesAt(row).dtype.device);
    return devices;
  }

  /** The momentum buffer; one on a slab is made an object for the caller. */
  bufferAt(row: number): Tensor | null {
    const held = this.buffers[row];
    if (held === null) return null;
    const address = readWord(this.halves, row * ROW + BUFFER);
    return objectOf(held, this.typesAt(row).bufferType, address, this.lengthAt(row));
  }

  /** The master weight; one on a slab is made an object for the caller, too. */
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

  /** Sets its state: `SKIP`, `FIRST`, `LATER` or `MAYBE`. */
  setState(row: number, state: number): void {
    writeState(this.halves, row, state);
  }

  /** Takes a row's gradient away. The next one is new to it. */
  skip(row: number): void {
    this.changes.recordRemoved();
    this.grads[row] = null;
    this.unmark(row, SPARSE);
    this.setState(row, SKIP);
  }

  /** Makes a row one with a sparse gradient. */
  setSparse(row: number): void {
    this.skip(row);
    this.mark(row, SPARSE);
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
    this.changes.recordWritten();
    this.#locations = null;
    this.datas[row] = data;
    this.grads[row] = null;
    this.unmark(row, SPARSE);
    writeWord(this.halves, row * ROW + DATA, address(data));
    writeWord(this.halves, row * ROW + LENGTH, length);
    writeKind(this.halves, row, code, group);
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
    this.changes.recordGradient(row);
    this.grads[row] = grad;
    this.unmark(row, SPARSE);
    writeWord(this.halves, row * ROW + GRAD, this.#source.address(grad));
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
    this.#replace(this.buffers, row, buffer);
    this.unmark(row, BEGAN_DENSE | BEGAN_SPARSE);
    writeWord(this.halves, row * ROW + BUFFER, address);
  }

  /** A master weight that fits, and its address; null for none. */
  holdMaster(row: number, master: StateArray<Float32Array> | null, address: number): void {
    this.#replace(this.masters, row, master);
    writeWord(this.halves, row * ROW + MASTER, address);
  }

  /** The one place where state arrays change. */
  #replace<A extends StateArray>(column: (A | null)[], row: number, array: A | null): void {
    this.#objects += Number(isObject(array)) - Number(isObject(column[row] ?? null));
    this.changes.recordWritten();
    column[row] = array;
  }

  /** Makes objects of what the row has on slabs. */
  materialize(row: number): void {
    this.#replace(this.buffers, row, this.bufferAt(row));
    if (this.masters.length > 0) this.#replace(this.masters, row, this.masterAt(row));
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
    this.datas.fill(UNBOUND);
    this.grads.fill(null);
    this.changes.recordAll();
  }

  /** Whether a row's data are as long as they were when it was written. */
  hasDataAt(row: number): boolean {
    return this.fits(row, this.datas[row]);
  }

  /** Whether an array of the row is as long as it was when the row was written. */
  fits(row: number, tensor: Tensor, type: ElementType = this.typesAt(row).dtype): boolean {
    const length = this.lengthAt(row);
    // An array without elements is as long as before when its buffer has gone.
    return lengthIn(tensor, type) === length && (length > 0 || isFixed(tensor));
  }

  /** What error messages call one of a parameter's arrays. */
  name(row: number, array: ArrayName): string {
    return nameArray(this.#source.parameterAt(row), row, array);
  }
}

/** The same column of another length. Pushing would leave room for half as many more. */
function resized<T>(column: readonly T[], count: number, empty: T): T[] {
  const other: T[] = new Array(count).fill(empty);
  for (let i = 0; i < Math.min(count, column.length); i++) other[i] = column[i];
  return other;
}
