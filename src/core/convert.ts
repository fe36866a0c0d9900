/** Converts elements of 16-bit types to float32, and back. */

import { narrowWord } from "./bfloat16_bits.ts";
import { isBFloat16Array } from "./bfloat16_class.ts";
import type { HostArray } from "./host_array.ts";
import { bufferOf, byteOffsetOf, lengthOf, setAll } from "./intrinsics.ts";

/** Copies elements, which all are float32 values, to a float32 array of the same length. */
export function load(from: HostArray, to: Float32Array): void {
  if (!isBFloat16Array(from)) return setAll(to, from);
  const words = wordsOf(to);
  for (let i = 0; i < words.length; i++) words[i] = from[i] << 16;
}

/** Rounds float32 to an array of the same length, to the nearest, ties to even. */
export function store(from: Float32Array, to: HostArray): void {
  if (!isBFloat16Array(to)) return setAll(to, from);
  const words = wordsOf(from);
  for (let i = 0; i < words.length; i++) to[i] = narrowWord(words[i]);
}

/** The bit patterns of float32. */
export function wordsOf(array: Float32Array): Uint32Array {
  return new Uint32Array(bufferOf(array), byteOffsetOf(array), lengthOf(array));
}
