/** Arrays between canaries, to see that nothing is written past their ends. */

import type { FloatArray } from "@descent/sgd";

const CANARIES = 24;
const CANARY = 0x5ca1ab1e;

/** A copy of an array in the midst of a longer one, and a look at what surrounds it. */
export interface Guarded {
  readonly array: FloatArray;
  /** Whether every canary is as it was. */
  intact(): boolean;
}

/**
 * Copies an array to where canaries precede and follow it.
 *
 * @param offset Elements by which the copy is moved from an aligned place.
 */
export function guarded(values: FloatArray, offset: number): Guarded {
  const { BYTES_PER_ELEMENT: bytes, length } = values;
  const whole = new Uint32Array((length + 2 * CANARIES + offset) * bytes / 4).fill(CANARY);
  const from = (CANARIES + offset) * bytes;
  const array = bytes === 4
    ? new Float32Array(whole.buffer, from, length)
    : new Float64Array(whole.buffer, from, length);
  array.set(values);
  const ends = [whole.subarray(0, from / 4), whole.subarray(from / 4 + length * bytes / 4)];
  return { array, intact: () => ends.every((end) => end.every((word) => word === CANARY)) };
}
