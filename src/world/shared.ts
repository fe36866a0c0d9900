/** Arrays on memory that the ranks of a machine share. */

import type { Place } from "../core/exchange.ts";
import { bufferOf, byteOffsetOf } from "../core/intrinsics.ts";
import { findStoredDtype } from "../core/dtype.ts";
import type { Dtype } from "../core/dtype.ts";
import { BFloat16Array } from "../core/bfloat16.ts";
import { foreignBuffer } from "../native/foreign.ts";
import type { Link } from "./link.ts";

/**
 * The arrays that `World.zeros` makes, by dtype.
 *
 * @category World
 */
export interface SharedArrays {
  /** Of float32. */
  float32: Float32Array<ArrayBuffer>;
  /** Of float64. */
  float64: Float64Array<ArrayBuffer>;
  /** Of float16. */
  float16: Float16Array<ArrayBuffer>;
  /** Of bfloat16. */
  bfloat16: BFloat16Array<ArrayBuffer>;
}

/** The dtypes of shared arrays, and how files name them. */
export const SHARED_DTYPES: Readonly<Record<keyof SharedArrays, string>> = {
  ...{ float32: "F32", float64: "F64", float16: "F16", bfloat16: "BF16" },
};

/** The shared arrays of a world. */
export class SharedMemory {
  readonly #link: Link | null;
  /** Numbers of buffers, equal on all ranks, which all make the same ones. */
  readonly #numbers: WeakMap<ArrayBufferLike, number> = new WeakMap();
  #count = 0;

  /** @param link Null where there is nobody to share with. */
  constructor(link: Link | null) {
    this.#link = link;
  }

  /** Whether all ranks see some arrays. */
  get isUsed(): boolean {
    return this.#count > 0;
  }

  /** Makes an array of zeros. All ranks are about to do the same. */
  make<D extends keyof SharedArrays>(length: number, dtype: D): SharedArrays[D] {
    const type = findStoredDtype(SHARED_DTYPES[dtype]) as Dtype;
    const bytes = length * type.bytes;
    if (this.#link === null || bytes === 0) return viewOf(type, new ArrayBuffer(bytes), length);
    const buffer = foreignBuffer(this.#link.zeros(bytes), bytes);
    const { size, localSize } = this.#link.position;
    if (size === localSize) this.#numbers.set(buffer, ++this.#count);
    return viewOf(type, buffer, length);
  }

  /** Where an array lies in memory that all ranks see; null if it does not. */
  placeOf(array: ArrayBufferView): Place | null {
    const number = this.#numbers.get(bufferOf(array));
    return number === undefined ? null : { number, offset: byteOffsetOf(array) };
  }
}

/** A whole buffer as an array. The class that is named here is not in a program that names it nowhere. */
function viewOf<A>(type: Dtype, buffer: ArrayBuffer, length: number): A {
  const view = type.name === "bfloat16"
    ? new BFloat16Array(buffer, 0, length)
    : type.view(buffer, 0, length);
  return view as A;
}
