/** WebAssembly for split master weights; `src/core/split_master.ts` does the same to one element. */

import { extend, isNaN, join } from "./sixteen_bit.ts";
import type { Random } from "./momentum8.ts";
import { SIMD } from "./writer.ts";
import type { Area, Writer } from "./writer.ts";

const { i16x8, i32x4, narrow } = SIMD;

/** Where a master weight's parts are: bits of bfloat16, and corrections of 16 or 8 bits. */
export interface SplitAreas {
  readonly params: Area;
  readonly corrections: Area;
}

/** Eight parameters and their corrections, both as words of 16 bits. */
export interface SplitWords {
  readonly params: number;
  readonly corrections: number;
}

/** Loads eight parameters and corrections, from an element on; stale ones cannot make a NaN. */
export function loadSplit(w: Writer, areas: SplitAreas, element: number): SplitWords {
  const params = w.load(areas.params, element);
  const raw = areas.corrections.bytes === 2
    ? w.load(areas.corrections, element)
    : w.unary(i16x8.extendLowS, w.loadHalf(areas.corrections, element));
  const zero = w.halfWords(0);
  const magnitude = w.binary(SIMD.and, params, w.halfWords(0x7fff));
  const isZero = w.binary(i16x8.eq, magnitude, zero);
  const isInfinite = w.binary(i16x8.eq, magnitude, w.halfWords(0x7f80));
  const above = w.select(isZero, w.binary(i16x8.maxS, raw, zero), raw);
  const corrections = w.select(isInfinite, w.binary(i16x8.minS, above, zero), above);
  return { params, corrections };
}

/** The lower or the upper four of eight master weights. */
export function joinSplit(
  w: Writer,
  { params, corrections }: SplitWords,
  upper: boolean,
  bytes: number,
): number {
  const high = w.shift(i32x4.shl, extend(w, params, upper), 16);
  const wide = w.unary(upper ? i32x4.extendHighS : i32x4.extendLowS, corrections);
  return w.binary(i32x4.add, high, bytes === 2 ? wide : w.shift(i32x4.shl, wide, 8));
}

/**
 * A master weight that can be split: a NaN has no lower half, and for corrections of 8 bits it is
 * rounded to its upper 24 bits by random ones.
 */
export function toSplit(w: Writer, value: number, random: Random | null, vector: number): number {
  const quiet = w.binary(SIMD.and, w.binary(SIMD.or, value, w.words(0x400000)), w.words(~0xffff));
  const word = w.select(isNaN(w, value), quiet, value);
  if (random === null) return word;
  const dither = w.shift(i32x4.shrU, random(vector), 24);
  return w.binary(SIMD.and, w.binary(i32x4.add, word, dither), w.words(~0xff));
}

/** Stores eight master weights that `toSplit` has made. */
export function storeSplit(
  w: Writer,
  { params, corrections }: SplitAreas,
  element: number,
  words: readonly [low: number, high: number],
): void {
  const upper = words.map((word) =>
    w.shift(i32x4.shrU, w.binary(i32x4.add, word, w.words(0x8000)), 16)
  );
  w.store(params, element, join(w, upper[0], upper[1]));
  const bits = corrections.bytes * 8;
  const lower = words.map((word) => w.shift(i32x4.shrS, w.shift(i32x4.shl, word, 16), 32 - bits));
  const halves = w.binary(narrow.i16FromI32S, lower[0], lower[1]);
  if (bits === 16) w.store(corrections, element, halves);
  else w.storeHalf(corrections, element, w.binary(narrow.i8FromI16S, halves, halves));
}
