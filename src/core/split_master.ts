/**
 * Master weights of bfloat16 parameters, split: the parameter has the upper bits, and a correction
 * beside it the 16 bits below them, or 8 of these.
 *
 * `docs/formats.md` defines the formats. A master weight is a float32, and the parameter is the
 * bfloat16 nearest to it.
 */

import type { BFloat16Array } from "./bfloat16.ts";
import { lengthOf } from "./intrinsics.ts";
import { BLOCK, hashBlock, laneOf } from "./momentum8.ts";

/** What the key of momentum in 8 bits and that of these random bits differ by. */
const OTHER_KEY = 0x7f4a7c15;

/**
 * Splits master weights into parameters and all the bits below them.
 *
 * @param params Receives bit patterns of bfloat16.
 */
export function splitWords(
  masters: Float32Array,
  params: Uint16Array,
  corrections: Int16Array,
): void {
  const words = wordsOf(masters);
  for (let i = 0; i < words.length; i++) {
    const word = withoutPayload(words[i]);
    params[i] = word + 0x8000 >>> 16; // the carry is what makes the correction negative
    corrections[i] = word;
  }
}

/** The master weights that were split. */
export function joinWords(
  params: Uint16Array,
  corrections: Int16Array,
  masters: Float32Array,
): void {
  const words = wordsOf(masters);
  for (let i = 0; i < words.length; i++) {
    words[i] = (params[i] << 16) + guarded(params[i], corrections[i]);
  }
}

/**
 * Rounds master weights to their upper 24 bits, with the dither of one tensor in one step, and splits
 * them into parameters and the 8 bits below.
 *
 * @param params Receives bit patterns of bfloat16.
 * @param key `keyOf` the step and the tensor, as for momentum in 8 bits.
 * @param firstBlock The number of the first block in its tensor.
 */
export function splitWords24(
  masters: Float32Array,
  params: Uint16Array,
  corrections: Int8Array,
  key: number,
  firstBlock: number = 0,
): void {
  const words = wordsOf(masters);
  for (let from = 0, block = firstBlock; from < words.length; from += BLOCK, block++) {
    const end = Math.min(from + BLOCK, words.length);
    const random = hashBlock(key + OTHER_KEY, block);
    for (let i = from; i < end; i++) {
      const dither = random + laneOf(i - from) >>> 24;
      store24(withoutPayload(words[i]) + dither, params, corrections, i);
    }
  }
}

/** The same, but rounded to the nearest, ties to even: how master weights are converted. */
export function splitWords24Nearest(
  masters: Float32Array,
  params: Uint16Array,
  corrections: Int8Array,
): void {
  const words = wordsOf(masters);
  for (let i = 0; i < words.length; i++) {
    const word = withoutPayload(words[i]);
    store24(word + 0x7f + (word >>> 8 & 1), params, corrections, i);
  }
}

/** Splits a word of which the lower 8 bits do not count. */
function store24(word: number, params: Uint16Array, corrections: Int8Array, i: number): void {
  params[i] = (word & ~0xff) + 0x8000 >>> 16;
  corrections[i] = word >>> 8;
}

/** The master weights, rounded to 24 bits, that were split. */
export function joinWords24(
  params: Uint16Array,
  corrections: Int8Array,
  masters: Float32Array,
): void {
  const words = wordsOf(masters);
  for (let i = 0; i < words.length; i++) {
    words[i] = (params[i] << 16) + (guarded(params[i], corrections[i]) << 8);
  }
}

/**
 * The master weight of a parameter and its correction, which is exact.
 *
 * @param correction Of 16 or 8 bits; null stands for zeros.
 */
export function joinMaster(
  data: BFloat16Array,
  correction: Int16Array | Int8Array | null,
): Float32Array {
  const masters = new Float32Array(lengthOf(data));
  if (correction instanceof Int16Array) joinWords(data, correction, masters);
  else joinWords24(data, correction ?? new Int8Array(masters.length), masters);
  return masters;
}

/** A NaN without its lower half, which could carry it into infinity or zero. */
function withoutPayload(word: number): number {
  return (word & 0x7fffffff) > 0x7f800000 ? (word | 0x400000) & ~0xffff : word;
}

/**
 * A correction that cannot make a NaN: one that belongs to other parameters is at most half a unit of
 * the last place off, but below zero, or above infinity, there are only NaNs.
 */
function guarded(param: number, correction: number): number {
  const magnitude = param & 0x7fff;
  if (magnitude === 0) return Math.max(correction, 0);
  return magnitude === 0x7f80 ? Math.min(correction, 0) : correction;
}

function wordsOf(masters: Float32Array): Uint32Array {
  return new Uint32Array(masters.buffer, masters.byteOffset, masters.length);
}
