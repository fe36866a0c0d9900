/** The tensor table of a plan: how an array gets into a row, and what is known of it by then. */

import type { Entry } from "./entry.ts";
import { checkLike } from "./like.ts";
import { checkBuffer, elementTypeOf } from "./parameter.ts";
import type { ElementType, Tensor } from "./parameter.ts";
import { bufferTypeOf, checkDevice, codeOf } from "./rounding.ts";
import type { Precision } from "./rounding.ts";
import {
  BUFFER,
  DATA,
  DTYPE,
  GRAD,
  GROUP,
  LENGTH,
  MASTER,
  ROW,
  STATE,
  writeWord,
} from "./tables.ts";

/** A tensor to be made. */
export interface Wanted {
  readonly dtype: ElementType;
  readonly length: number;
}

/** The memory of the tensors of a plan. */
export interface TensorMemory {
  /** Where an array's bytes begin, as the backend reads it from the tables. */
  address(array: Tensor | Uint32Array<ArrayBuffer>): number;
  /** Makes momentum buffers of zeros. */
  allocate(wanted: readonly Wanted[]): Tensor[];
}

/** Rows that are written when an array of a parameter changes. */
export class TensorTable {
  /** `ROW` words of 64 bits per parameter. */
  rows = new BigUint64Array(0);
  /** The same words in halves, which take numbers as they are. */
  halves = new Uint32Array(0);
  /** Whether what a step writes is not known to lie apart from everything else. */
  writtenChanged = true;
  /** Whether the gradients are not known to lie apart from each other. */
  gradsChanged = true;
  /** The parameters whose gradients are not known to lie apart from what a step writes. */
  readonly newGrads: Entry[] = [];
  readonly #address: TensorMemory["address"];
  readonly #precision: Precision;

  constructor(address: TensorMemory["address"], precision: Precision) {
    this.#address = address;
    this.#precision = precision;
  }

  /** Makes room for so many parameters; the rows have to be written anew then. */
  resize(count: number): void {
    if (this.rows.length === count * ROW) return;
    this.rows = new BigUint64Array(count * ROW);
    this.halves = new Uint32Array(this.rows.buffer);
  }

  /** The word's upper half stays 0. */
  setState(entry: Entry, state: number): void {
    this.halves[2 * (entry.index * ROW + STATE)] = state;
  }

  #write(entry: Entry, word: number, value: number): void {
    writeWord(this.halves, entry.index * ROW + word, value);
  }

  /** A parameter's data, with which everything else begins anew. */
  bindData(entry: Entry, data: Tensor): void {
    const what = entry.name("data");
    const dtype = elementTypeOf(data, what);
    checkBuffer(data, what);
    checkDevice(dtype, this.#precision, what);
    entry.data = data;
    entry.grad = entry.buffer = entry.master = null;
    entry.length = data.length;
    entry.dtype = dtype;
    entry.bufferType = bufferTypeOf(dtype, this.#precision.rounding);
    this.#write(entry, DATA, this.#address(data));
    this.#write(entry, BUFFER, 0);
    this.#write(entry, MASTER, 0);
    this.#write(entry, LENGTH, data.length);
    this.#write(entry, DTYPE, codeOf(dtype, this.#precision.rounding));
    this.#write(entry, GROUP, entry.group);
    this.writtenChanged = true;
  }

  /** Its gradient. */
  bindGrad(entry: Entry, grad: Tensor): void {
    checkLike(grad, entry, entry.name("grad"));
    entry.grad = grad;
    this.gradsChanged = true;
    this.#write(entry, GRAD, this.#address(grad));
    this.newGrads.push(entry);
  }

  /** Its momentum buffer, as it was given. */
  bindBuffer(entry: Entry, buffer: Tensor): void {
    const { bufferType: dtype, length } = entry;
    const reason = dtype === entry.dtype
      ? undefined
      : `as rounding "${this.#precision.rounding}" needs it`;
    checkLike(buffer, { dtype, length, reason }, entry.name("momentum buffer"));
    this.setBuffer(entry, buffer);
  }

  /** Its momentum buffer, which fits. */
  setBuffer(entry: Entry, buffer: Tensor): void {
    entry.buffer = buffer;
    this.#write(entry, BUFFER, this.#address(buffer));
    this.writtenChanged = true;
  }

  /** Its master weight, which fits. */
  setMaster(entry: Entry, master: Float32Array): void {
    entry.master = master;
    this.#write(entry, MASTER, this.#address(master));
    this.writtenChanged = true;
  }
}
