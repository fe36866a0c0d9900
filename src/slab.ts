/**
 * Memory of an optimizer's own that holds many arrays. An array on it is an address in a table; it
 * becomes an object, which takes V8 some 200 bytes, only when somebody asks for it.
 */

import type { Dtype, HostArray } from "./parameter.ts";

/** What addresses of arrays are multiples of: a vector of WebAssembly's, and any element. */
const ALIGNMENT = 16;

/** Bytes of the largest slab of more than one array. */
const LARGEST = 2 ** 30;

/** One `ArrayBuffer` with arrays on it. */
export class Slab {
  readonly #whole = new Map<Dtype, HostArray>();
  readonly #bytes: number;

  /**
   * @param buffer The memory.
   * @param start Where it begins, as the backend reads it from the tables.
   * @param offset Bytes before its first array.
   */
  constructor(
    readonly buffer: ArrayBufferLike,
    readonly start: number,
    readonly offset: number,
  ) {
    this.#bytes = buffer.byteLength;
  }

  /** Bytes, also of a buffer that was detached. */
  get byteLength(): number {
    return this.#bytes;
  }

  /** Whether the memory is still there. */
  get isAttached(): boolean {
    return this.buffer.byteLength === this.#bytes;
  }

  /** The array at an address. */
  view(dtype: Dtype, address: number, length: number): HostArray {
    return dtype.view(this.buffer, address - this.start, length);
  }

  /** All of the memory as one array, for whoever steps parts of it. */
  whole(dtype: Dtype): HostArray {
    let whole = this.#whole.get(dtype);
    if (whole === undefined) {
      whole = dtype.view(this.buffer, 0, Math.floor(this.#bytes / dtype.bytes));
      this.#whole.set(dtype, whole);
    }
    return whole;
  }
}

/** Arrays that get a place on slabs, by numbers from 0 on. */
export interface Unplaced {
  readonly count: number;
  /** Bytes of an array; -1 for a number that stands for none. */
  readonly bytesOf: (i: number) => number;
  /** Takes the address that an array gets. */
  readonly place: (i: number, slab: Slab, address: number) => void;
}

/** Gives arrays places on new slabs, of which there are as few as there can be. */
export function placeAll(
  { count, bytesOf, place }: Unplaced,
  allocate: (bytes: number) => Slab,
): void {
  let from = 0;
  while (from < count) {
    let [to, bytes] = [from, 0];
    for (; to < count; to++) {
      const more = roomOf(bytesOf(to));
      if (bytes > 0 && bytes + more > LARGEST) break;
      bytes += more;
    }
    if (bytes === 0) return;
    const slab = allocate(bytes);
    let address = slab.start + slab.offset;
    for (; from < to; from++) {
      if (bytesOf(from) < 0) continue;
      place(from, slab, address);
      address += roomOf(bytesOf(from));
    }
  }
}

/** An array without elements takes room too, so that no two begin at one address. */
function roomOf(bytes: number): number {
  return bytes < 0 ? 0 : Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
}
