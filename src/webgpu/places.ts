/**
 * Where the buffers of WebGPU are on the scale of all memory.
 *
 * They have no addresses, so each gets a range of numbers of its own: from 2^53 downwards, above all
 * addresses of the host and the handles of the native library. The range of a buffer has its size, so
 * tensors overlap as numbers where they overlap in a buffer.
 */

import type { Buffer } from "./api.ts";

/** A buffer and its range. It is not kept alive: whoever has an address holds a tensor. */
interface Range {
  readonly start: number;
  readonly buffer: WeakRef<Buffer>;
}

const starts = new WeakMap<Buffer, number>();

/** By their starts, in falling order. */
let ranges: Range[] = [];

let next = 2 ** 53;

let collected = 0;

const forgotten = new FinalizationRegistry<null>(() => {
  if (++collected <= ranges.length / 2) return;
  ranges = ranges.filter(({ buffer }) => buffer.deref() !== undefined);
  collected = 0;
});

/** Where a buffer begins. */
export function startOf(buffer: Buffer): number {
  return starts.get(buffer) ?? addRange(buffer);
}

function addRange(buffer: Buffer): number {
  const start = next -= Math.max(1, buffer.size);
  starts.set(buffer, start);
  ranges.push({ start, buffer: new WeakRef(buffer) });
  forgotten.register(buffer, null);
  return start;
}

/** A byte of a buffer. */
export interface Place {
  readonly buffer: Buffer;
  /** Bytes from the start of the buffer. */
  readonly offset: number;
}

/** What is at an address of a tensor that is still there. */
export function placeAt(address: number): Place {
  let [low, high] = [0, ranges.length - 1];
  while (low < high) { // the first range that does not begin after the address
    const middle = (low + high) >> 1;
    if (ranges[middle].start <= address) high = middle;
    else low = middle + 1;
  }
  const { start, buffer } = ranges[low];
  return { buffer: buffer.deref()!, offset: address - start };
}
