/**
 * Memory that holds many arrays of an optimizer, and how arrays get a place in it.
 *
 * An array on a slab is an address in a table; it becomes an object, which takes V8 some 200 bytes, only
 * when the user reads it.
 */

import type { Dtype } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import type { OwnArray, Store } from "./stores.ts";

/** What places of arrays are multiples of: of any element, and for larger arrays of a SIMD vector. */
const ELEMENT = 8;

const VECTOR = 16;

/** Bytes from which an array is one of the larger ones. */
const LARGER = 64;

/**
 * Bytes of the largest slab of more than one array: one block of memory is easier to get than a much
 * larger one, and 32 bits hold every index.
 */
const LARGEST = 2 ** 30;

/** One `ArrayBuffer` with arrays on it. */
export class Slab {
  /** By the number of a dtype. */
  readonly #wholes: HostArray[] = [];
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
    this.#bytes = buffer.byteLength; // nobody has seen the buffer yet
  }

  /** The array at an address, of a parameter of so many elements. */
  view(store: Pick<Store, "view">, address: number, length: number): OwnArray {
    return store.view(this.buffer, address - this.start, length);
  }

  /** Where in `whole` the array at an address begins. As an integer of 32 bits it is a fast index. */
  indexOf({ bytes }: Dtype, address: number): number {
    return ((address - this.start) / bytes) | 0;
  }

  /** All of the memory as one array, for backends that step parts of it. */
  whole(dtype: Dtype): HostArray {
    const length = Math.floor(this.#bytes / dtype.bytes);
    return this.#wholes[dtype.code] ??= dtype.view(this.buffer, 0, length);
  }
}

/** Arrays that get a place on slabs, by numbers from 0 on. */
export interface SlabRequest {
  readonly count: number;
  /** Bytes of an array; -1 for a number that stands for none. */
  readonly bytesOf: (i: number) => number;
  /** Takes the address that an array gets. */
  readonly place: (i: number, slab: Slab, address: number) => void;
}

/** Gives arrays places on new slabs, of which there are as few as there can be. */
export function placeAll(
  { count, bytesOf, place }: SlabRequest,
  allocate: (bytes: number) => Slab,
): void {
  for (let from = 0, to = 0; from < count; from = to) {
    let end = -1;
    for (; to < count; to++) {
      const bytes = bytesOf(to);
      if (bytes < 0) continue;
      const next = beginOf(bytes, Math.max(0, end)) + bytes;
      if (end >= 0 && next > LARGEST) break;
      end = next;
    }
    if (end < 0) return;
    const slab = allocate(Math.max(1, Math.ceil(end / ELEMENT)) * ELEMENT);
    let at = 0;
    for (let i = from; i < to; i++) {
      const bytes = bytesOf(i);
      if (bytes < 0) continue;
      at = beginOf(bytes, at);
      place(i, slab, slab.start + slab.offset + at);
      at += bytes;
    }
  }
}

/** The first place from one on where an array can begin. */
function beginOf(bytes: number, place: number): number {
  const step = bytes < LARGER ? ELEMENT : VECTOR;
  return Math.ceil(place / step) * step;
}

/** What an array of the optimizer's own is: an object, or an address on a slab. */
export type StateArray<T extends OwnArray = OwnArray> = T | Slab;

/** The memory of the tensors of a plan. */
export interface Allocator {
  /** Where an array's bytes begin, as the backend reads it from the tables. */
  readonly address: (array: OwnArray | Uint32Array<ArrayBuffer>) => number;
  /** Makes a slab of zeros; null if each array is to have memory of its own. */
  readonly allocate: ((bytes: number) => Slab) | null;
}

/** Arrays to be made, by numbers from 0 on. */
export interface AllocationRequest {
  readonly count: number;
  /** Null for a number that stands for none. */
  readonly storeOf: (i: number) => Store | null;
  /** The number of elements of its parameter. */
  readonly lengthOf: (i: number) => number;
  /** Takes an array of zeros. */
  readonly hold: (i: number, held: StateArray, address: number) => void;
}

/** Makes arrays: tensors on devices one at a time, those of the host on slabs. */
export function makeArrays(
  { address, allocate }: Allocator,
  { count, storeOf, lengthOf, hold }: AllocationRequest,
): void {
  const together = new Map<Store, number[]>();
  for (let i = 0; i < count; i++) {
    const store = storeOf(i);
    if (store === null || (allocate !== null && store.device === undefined)) continue;
    if (store.zerosAll !== undefined) {
      if (together.get(store)?.push(i) === undefined) together.set(store, [i]);
      continue;
    }
    const array = store.zeros(lengthOf(i));
    hold(i, array, address(array));
  }
  for (const [store, numbers] of together) {
    const tensors = store.zerosAll!(numbers.map(lengthOf));
    tensors.forEach((tensor, i) => hold(numbers[i], tensor, address(tensor)));
  }
  if (allocate === null) return;
  const bytesOf = (i: number) => {
    const store = storeOf(i);
    return store === null || store.device !== undefined ? -1 : store.bytesOf(lengthOf(i));
  };
  placeAll({ count, bytesOf, place: hold }, allocate);
}

/** An array as an object; one on a slab is made for the caller. */
export function objectOf(
  held: StateArray,
  store: Store,
  address: number,
  length: number,
): OwnArray {
  return held instanceof Slab ? held.view(store, address, length) : held;
}

/** Whether it is an array or a tensor that is an object. */
export function isObject(held: StateArray | null): held is OwnArray {
  return held !== null && !(held instanceof Slab);
}
