/** The tensor table: writes arrays into rows and tracks which of them have been validated. */

import { bufferError, checkMatches, isFixed, matchesSpec } from "../core/array_checks.ts";
import { elementTypeOf, findElementType, FLOAT32, isSixteenBit, lengthIn } from "../core/dtype.ts";
import type { Device, ElementType, Tensor } from "../core/dtype.ts";
import { nameArray } from "../core/parameter.ts";
import type { ArrayName, Parameter } from "../core/parameter.ts";
import { codeOf, isSplit } from "../core/rounding.ts";
import type { Precision, Rounding } from "../core/rounding.ts";
import { isObject, objectOf } from "../memory/slab.ts";
import type { StateArray } from "../memory/slab.ts";
import type { OwnArray } from "../memory/stores.ts";
import { Changes } from "./changes.ts";
import { momentum8On } from "./parameter_state.ts";
import type { Correction, Momentum8 } from "./parameter_state.ts";
import { checkFormats, formatsOf, typesOf } from "./formats.ts";
import type { RowTypes } from "./formats.ts";
import {
  BUFFER,
  codeIn,
  createRows,
  DATA,
  FORMAT_BITS,
  FORMAT_MOMENTUM8,
  formatsIn,
  GRAD,
  groupOf,
  LENGTH,
  MASTER,
  readWord,
  ROW,
  SKIP,
  writeGradFormat,
  writeKind,
  writeState,
  writeWord,
} from "./layout.ts";
import { locate } from "./locations.ts";
import type { Locations } from "./locations.ts";
import {
  BEGAN_DENSE,
  BEGAN_SPARSE,
  BUFFER_IS_NEW,
  CORRECTION_IS_STALE,
  MASTER_IS_NEW,
  SPARSE,
} from "./marks.ts";
import { RowSets } from "./rows_in_use.ts";

/** Where a plan finds what its rows are about. */
interface Source {
  /** Where an array's bytes begin, as the backend reads it from the table. */
  readonly address: (array: OwnArray) => number;
  readonly parameterAt: (row: number) => Parameter<Tensor>;
  /** The bits of an element of momentum of a group. */
  readonly momentumBitsOf: (group: number) => 8 | 32;
  /** Lets go of what the row holds of the optimizer's own, as its type or length changes. */
  readonly release: (row: number) => void;
  readonly precision: Precision;
}

/** Stands for data that a row has to be written anew for. */
export const UNBOUND: Tensor = new Float32Array(0);

/** What kind of gradient a row has. One on a device is dense, too. */
export type GradientKind = "none" | "dense" | "sparse" | "device";

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
  /** Their momentum buffers, or the blocks of momentum in 8 bits; null before they have one. */
  buffers: (StateArray | null)[] = [];
  /** The rows in use, by row, of momentum buffers that began with a sparse gradient. */
  readonly rowsInUse = new RowSets();
  /** Their master weights, or their corrections. Empty if there are none at all. */
  masters: (StateArray | null)[] = [];
  /** Bits such as `BUFFER_IS_NEW`. */
  marks: Uint8Array = new Uint8Array(0);
  /** What the alias checks have not seen yet. */
  readonly changes = new Changes();
  /** How many of the optimizer's own arrays are objects. */
  #objects = 0;
  /** Null until it is needed, and again once a row has other data. */
  #locations: Locations | null = null;
  /** By their formats, and by the number of their dtype. */
  readonly #types: RowTypes[][] = [];
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
    const rows = createRows(count);
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

  /**
   * Puts rows into another order or leaves some out; what is known of a row goes with it.
   *
   * @param order For each row, the row that it was.
   */
  arrange(order: readonly number[]): void {
    this.changes.recordAll();
    this.#locations = null;
    const { rows, marks, masters } = this;
    this.rows = createRows(order.length);
    this.halves = new Uint32Array(this.rows.buffer);
    for (const [row, was] of order.entries()) {
      this.rows.set(rows.subarray(was * ROW, (was + 1) * ROW), row * ROW);
    }
    this.marks = Uint8Array.from(order, (was) => marks[was]);
    this.datas = picked(this.datas, order);
    this.grads = picked(this.grads, order);
    this.buffers = picked(this.buffers, order);
    if (masters.length > 0) this.masters = picked(masters, order);
    this.rowsInUse.arrange(order);
    const isOne = (held: StateArray | null) => isObject(held);
    this.#objects = this.buffers.filter(isOne).length + this.masters.filter(isOne).length;
  }

  /** The number of elements. */
  lengthAt(row: number): number {
    return readWord(this.halves, row * ROW + LENGTH);
  }

  /** The types of its arrays. */
  typesAt(row: number): RowTypes {
    const { halves } = this;
    return this.#types[formatsIn(halves, row) >> FORMAT_BITS][codeIn(halves, row)];
  }

  /** Whether its momentum is in 8 bits. */
  hasMomentum8(row: number): boolean {
    return (formatsIn(this.halves, row) & FORMAT_MOMENTUM8) !== 0;
  }

  /** The bits of an element of momentum that its group asks for. */
  momentumBitsAt(row: number): 8 | 32 {
    return this.#source.momentumBitsOf(this.groupAt(row));
  }

  /** The parameter of a row, whose arrays may have changed since the row was written. */
  parameterAt(row: number): Parameter<Tensor> {
    return this.#source.parameterAt(row);
  }

  /** Which master weights parameters in 16-bit types have. */
  get masterWeights(): Precision["masterWeights"] {
    return this.#source.precision.masterWeights;
  }

  /** How parameters in 16-bit types are rounded. */
  get rounding(): Rounding {
    return this.#source.precision.rounding;
  }

  /** Whether the masters are corrections. */
  get isSplit(): boolean {
    return isSplit(this.#source.precision);
  }

  /** Bytes of the array that a word is about: `DATA`, `GRAD`, `BUFFER` or `MASTER`. */
  sizeOf(row: number, word: number): number {
    const length = this.lengthAt(row);
    const { dtype, gradType, momentum, master } = this.typesAt(row);
    if (word === DATA) return length * dtype.bytes;
    if (word === GRAD) return length * gradType.bytes;
    return (word === BUFFER ? momentum : master).bytesOf(length);
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
    return (this.#locations ??= locate(this)).devices;
  }

  /** Whether some of the rows are in JavaScript's memory. */
  get hasArrays(): boolean {
    return (this.#locations ??= locate(this)).hasArrays;
  }

  /** The momentum buffer; one on a slab is made an object for the caller. Null if it has 8 bits. */
  bufferAt(row: number): Tensor | null {
    return this.hasMomentum8(row) ? null : this.#momentumAt(row) as Tensor | null;
  }

  /** Momentum in 8 bits; null if there is none, or it has a buffer. */
  momentum8At(row: number): Momentum8 | null {
    if (!this.hasMomentum8(row)) return null;
    const block = this.#momentumAt(row) as Uint8Array | null;
    return block && momentum8On(block, this.lengthAt(row));
  }

  /** The master weight; one on a slab is made an object for the caller, too. Null if it is split. */
  masterAt(row: number): Float32Array | null {
    return this.isSplit ? null : this.#lowerAt(row) as Float32Array | null;
  }

  /** The correction of a split master weight; null if there is none. */
  correctionAt(row: number): Correction | null {
    return this.isSplit ? this.#lowerAt(row) as Correction | null : null;
  }

  #momentumAt(row: number): OwnArray | null {
    const held = this.buffers[row];
    if (held === null) return null;
    const address = readWord(this.halves, row * ROW + BUFFER);
    return objectOf(held, this.typesAt(row).momentum, address, this.lengthAt(row));
  }

  #lowerAt(row: number): OwnArray | null {
    const held = this.masters[row] ?? null;
    if (held === null) return null;
    const address = readWord(this.halves, row * ROW + MASTER);
    return objectOf(held, this.typesAt(row).master, address, this.lengthAt(row));
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
    writeGradFormat(this.halves, row, false);
  }

  /** Makes a row one with a sparse gradient. */
  setSparse(row: number): void {
    this.skip(row);
    this.mark(row, SPARSE);
  }

  /** A parameter's data, with which its gradient is looked at anew. */
  bindData(row: number, data: Tensor, group: number): void {
    const { precision, address, release, momentumBitsOf } = this.#source;
    const dtype = findElementType(data);
    if (dtype === undefined || !isFixed(data)) return this.#refuseData(row, data);
    const momentumBits = momentumBitsOf(group);
    checkFormats(dtype, momentumBits, precision, () => this.name(row, "data"));
    const code = codeOf(dtype, precision.rounding);
    const length = lengthIn(data, dtype);
    if (code !== codeIn(this.halves, row) || length !== this.lengthAt(row)) release(row);
    const formats = formatsOf(dtype, length, momentumBits, precision);
    this.#addTypes(dtype, code, formats);
    this.changes.recordWritten();
    this.#locations = null;
    this.datas[row] = data;
    this.grads[row] = null;
    this.unmark(row, SPARSE);
    writeWord(this.halves, row * ROW + DATA, address(data));
    writeWord(this.halves, row * ROW + LENGTH, length);
    writeKind(this.halves, row, code + formats, group);
  }

  #addTypes(dtype: ElementType, code: number, formats: number): void {
    const column = this.#types[formats >> FORMAT_BITS] ??= [];
    column[code] ??= typesOf(dtype, formats, this.#source.precision);
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
    const isWide = isSixteenBit(dtype) && this.#bindWide(row, grad, dtype);
    if (!isWide && !matchesSpec(grad, dtype, length)) {
      checkMatches(
        grad,
        { dtype, length, reason: this.#gradReason(dtype, grad) },
        this.name(row, "grad"),
      );
    }
    this.changes.recordGradient(row);
    this.grads[row] = grad;
    this.unmark(row, SPARSE);
    writeWord(this.halves, row * ROW + GRAD, this.#source.address(grad));
  }

  /** Why a gradient must be of the type of its data, or what else it may be. */
  #gradReason(dtype: ElementType, grad: Tensor): string {
    const reasons = ["like its data"];
    if (isSixteenBit(dtype)) {
      reasons.push(this.rounding === "torch" ? 'with rounding "torch"' : "or float32");
    }
    const isArray = ArrayBuffer.isView(grad) || findElementType(grad) !== undefined;
    if (!isArray) reasons.push("or null where there is none");
    return reasons.join(", ");
  }

  /** Sees whether the gradient of a parameter in a 16-bit type is float32. */
  #bindWide(row: number, grad: Tensor, dtype: ElementType): boolean {
    const isWide = findElementType(grad) === FLOAT32 &&
      this.rounding !== "torch";
    if (isWide) {
      const like = { dtype: FLOAT32, length: this.lengthAt(row) };
      checkMatches(grad, like, this.name(row, "grad"));
    }
    writeGradFormat(this.halves, row, isWide);
    this.#addTypes(dtype, codeIn(this.halves, row), formatsIn(this.halves, row));
    return isWide;
  }

  /** A momentum buffer or block that fits, and its address; null for none. */
  holdBuffer(row: number, buffer: StateArray | null, address: number): void {
    this.#replace(this.buffers, row, buffer);
    this.unmark(row, BEGAN_DENSE | BEGAN_SPARSE);
    this.rowsInUse.delete(row);
    writeWord(this.halves, row * ROW + BUFFER, address);
  }

  /** A master weight or a correction that fits, and its address; null for none. */
  holdMaster(row: number, master: StateArray | null, address: number): void {
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
    this.#replace(this.buffers, row, this.#momentumAt(row));
    if (this.masters.length > 0) this.#replace(this.masters, row, this.#lowerAt(row));
  }

  /** Takes out what the row has of the optimizer's own, also what is new. */
  clearState(row: number): void {
    this.holdBuffer(row, null, 0);
    if (this.masters.length > 0) this.holdMaster(row, null, 0);
    this.unmark(row, BUFFER_IS_NEW | MASTER_IS_NEW | CORRECTION_IS_STALE);
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
    return this.fits(row, this.datas[row], this.typesAt(row).dtype);
  }

  /** Whether data or a gradient of the row are as long as they were when the row was written. */
  fits(row: number, tensor: Tensor, type: ElementType): boolean {
    const length = this.lengthAt(row);
    // An array without elements is as long as before when its buffer has gone.
    return lengthIn(tensor, type) === length && (length > 0 || isFixed(tensor));
  }

  /** What momentum of the row is called. */
  momentumName(row: number): ArrayName {
    return this.hasMomentum8(row) ? "8-bit momentum" : "momentum buffer";
  }

  /** What master weights of the table are called. */
  get masterName(): ArrayName {
    return this.isSplit ? "correction" : "master weight";
  }

  /** What error messages call one of a parameter's arrays. */
  name(row: number, array: ArrayName): string {
    return nameArray(this.#source.parameterAt(row), row, array);
  }
}

/** A column in another order. */
function picked<T>(column: readonly T[], order: readonly number[]): T[] {
  return order.map((row) => column[row]);
}

/** The same column of another length. Pushing would leave room for half as many more. */
function resized<T>(column: readonly T[], count: number, empty: T): T[] {
  const other: T[] = new Array(count).fill(empty);
  for (let i = 0; i < Math.min(count, column.length); i++) other[i] = column[i];
  return other;
}
