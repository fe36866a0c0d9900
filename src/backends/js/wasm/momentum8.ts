/** WebAssembly for momentum in 8 bits; `src/core/momentum8.ts` does the same to one element. */

import { BLOCK, laneOf, SMALLEST_SCALE } from "../../../core/momentum8.ts";
import { SIMD } from "./writer.ts";
import type { Area, Writer } from "./writer.ts";

const { i16x8, i32x4, f32x4, narrow } = SIMD;

/** Vectors of a block. */
const VECTORS = BLOCK / 4;

/** The random bits of the four elements from some vector of the counter's block on. */
export type Random = (vector: number) => number;

/**
 * The random bits of a block, once for all of its vectors.
 *
 * @param key What they depend on, in all lanes.
 * @param firstBlock The number of the memory's first block in its tensor, in all lanes.
 */
export function randomBits(w: Writer, key: number, firstBlock: number): Random {
  const multiply = (word: number, factor: number) => w.binary(i32x4.mul, word, w.words(factor));
  const mix = (word: number, bits: number) =>
    w.binary(SIMD.xor, word, w.shift(i32x4.shrU, word, bits));
  const number = w.binary(i32x4.add, w.block(), w.binary(i32x4.add, key, firstBlock));
  const first = mix(multiply(mix(multiply(number, 0x9e3779b1), 15), 0x85ebca77), 13);
  return (vector) => {
    const lanes = [0, 1, 2, 3].map((lane) => laneOf(4 * vector + lane));
    return w.binary(i32x4.add, first, w.words(...lanes));
  };
}

/** Reads momentum in 8 bits one vector after another, from the first one of a block on. */
export class Momentum8Reader {
  #step = 0;
  #codes = 0;
  #half = 0;

  constructor(readonly w: Writer, readonly values: Area, readonly scales: Area) {}

  load(vector: number): number {
    const { w } = this;
    if (vector === 0) this.#step = w.shift(i32x4.shl, w.loadBlockByte(this.scales), 23);
    if (vector % 4 === 0) this.#codes = w.load(this.values, 4 * vector);
    if (vector % 2 === 0) {
      this.#half = w.unary(vector % 4 === 0 ? i16x8.extendLowS : i16x8.extendHighS, this.#codes);
    }
    const extend = vector % 2 === 0 ? i32x4.extendLowS : i32x4.extendHighS;
    const code = w.unary(extend, this.#half);
    const value = w.binary(f32x4.mul, w.unary(f32x4.convertI32, code), this.#step);
    const isMark = w.binary(i32x4.eq, code, w.words(-128));
    return w.select(isMark, w.words(0x7fc00000), value);
  }
}

/** Encodes the vectors of the counter's block. */
export function storeMomentum8(
  w: Writer,
  [values, scales]: readonly [Area, Area],
  vectors: readonly number[],
  random: Random,
): void {
  const largest = w.words(0x7f7e0000);
  const magnitudes = vectors.map((x) => w.binary(SIMD.and, x, w.words(0x7fffffff)));
  const marks = magnitudes.map((a) => w.binary(i32x4.gtS, a, largest));
  const finite = magnitudes.map((a, k) => w.binary(SIMD.andnot, a, marks[k]));
  const scale = scaleOf(w, finite);
  w.storeBlockByte(scales, scale);
  const inverse = w.shift(i32x4.shl, w.binary(i32x4.sub, w.words(254), scale), 23);
  const codes = vectors.map((x, k) => {
    const code = codeOf(w, w.binary(f32x4.mul, x, inverse), random(k));
    return w.select(marks[k], w.words(-128), code);
  });
  for (let k = 0; k < VECTORS; k += 4) {
    const pairs = [0, 2].map((i) => w.binary(narrow.i16FromI32S, codes[k + i], codes[k + i + 1]));
    w.store(values, 4 * k, w.binary(narrow.i8FromI16S, pairs[0], pairs[1]));
  }
}

/** The exponent of a block's step, in all lanes. */
function scaleOf(w: Writer, magnitudes: readonly number[]): number {
  const larger = (a: number, b: number) => w.binary(i32x4.maxS, a, b);
  const four = magnitudes.reduce(larger);
  const two = larger(four, w.shuffle(four, four, [2, 3, 0, 1]));
  const largest = larger(two, w.shuffle(two, two, [1, 0, 3, 2]));
  const exponent = w.shift(i32x4.shrU, w.binary(i32x4.add, largest, w.words(0x1ffff)), 23);
  const least = larger(exponent, w.words(SMALLEST_SCALE + 6));
  return w.binary(i32x4.sub, least, w.words(6));
}

/** What makes the unit in the last place of a float32 one. */
const ROUNDER = 0x4b400000; // 1.5 * 2^23

/** Steps with a dither, rounded to the nearest whole number, ties to even. */
function codeOf(w: Writer, steps: number, random: number): number {
  const odd = w.binary(SIMD.or, w.shift(i32x4.shrS, random, 16), w.words(1));
  const dither = w.binary(f32x4.mul, w.unary(f32x4.convertI32, odd), w.number(2 ** -16));
  const sum = w.binary(f32x4.add, steps, dither);
  const rounder = w.words(ROUNDER);
  return w.binary(i32x4.sub, w.binary(f32x4.add, sum, rounder), rounder);
}
