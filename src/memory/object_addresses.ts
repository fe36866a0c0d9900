/** Addresses of arrays for programs without the library, which could read the real ones. */

import { bufferOf, byteOffsetOf, sizeOfBuffer } from "../core/intrinsics.ts";

/** Where the range of each buffer begins. */
const bases = new WeakMap<ArrayBufferLike, number>();

let next = 1;

/**
 * Where an array's bytes begin, on a scale on which each buffer object has a range of its own, as
 * JavaScript does not have the real addresses. Objects that share their memory, such as the copies of
 * a `SharedArrayBuffer` that `structuredClone` makes, count as different memory here.
 */
export function objectAddressOf(array: unknown): number {
  const buffer = bufferOf(array);
  let base = bases.get(buffer);
  if (base === undefined) {
    base = next;
    next += sizeOfBuffer(buffer) + 1;
    bases.set(buffer, base);
  }
  return base + byteOffsetOf(array);
}
