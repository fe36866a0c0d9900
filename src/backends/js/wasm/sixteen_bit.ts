/** WebAssembly that converts vectors of 16-bit types to float32, and back. */

import type { Dtype } from "../../../core/dtype.ts";
import { SIMD } from "./writer.ts";
import type { Writer } from "./writer.ts";

const { i32x4, f32x4, narrow } = SIMD;

/** Four of eight words of 16 bits, the lower or the upper ones, as words of 32 bits. */
export function extend(w: Writer, words: number, upper: boolean): number {
  return w.unary(upper ? i32x4.extendHighU : i32x4.extendLowU, words);
}

/** Eight words of 16 bits of twice four words of 32 bits, which are not larger. */
export function join(w: Writer, low: number, high: number): number {
  return w.binary(narrow.i16FromI32U, low, high);
}

/** Words that hold values of a 16-bit type, as float32. */
export function widen(w: Writer, { name }: Dtype, words: number): number {
  return name === "bfloat16" ? w.shift(i32x4.shl, words, 16) : widenFloat16(w, words);
}

/** Words that hold the nearest values of a 16-bit type, ties to even. */
export function narrowTo(w: Writer, { name }: Dtype, value: number): number {
  return name === "bfloat16" ? narrowToBFloat16(w, value) : narrowToFloat16(w, value);
}

/** What makes 2^-14 of the bits of a float16 that has none. */
const SMALLEST_NORMAL = 113 << 23;

/** From a bias of 15 to one of 127. */
const REBIAS = 112 << 23;

/** No value passes through subnormal float32, which some processors handle in microcode. */
function widenFloat16(w: Writer, words: number): number {
  const bits = w.shift(i32x4.shl, w.binary(SIMD.and, words, w.words(0x7fff)), 13);
  const rebias = w.words(REBIAS);
  const isSpecial = w.binary(i32x4.gtS, bits, w.words((0x7c00 << 13) - 1));
  const further = w.binary(SIMD.and, isSpecial, rebias);
  const normal = w.binary(i32x4.add, w.binary(i32x4.add, bits, rebias), further);
  // Below the normal numbers, the bits count units of 2^-24, as those of 2^-14 and above do.
  const smallest = w.words(SMALLEST_NORMAL);
  const subnormal = w.binary(f32x4.sub, w.binary(i32x4.add, bits, smallest), smallest);
  const isSubnormal = w.binary(i32x4.ltS, bits, w.words(0x400 << 13));
  const magnitude = w.select(isSubnormal, subnormal, normal);
  const sign = w.shift(i32x4.shl, w.binary(SIMD.and, words, w.words(0x8000)), 16);
  return w.binary(SIMD.or, magnitude, sign);
}

function narrowToFloat16(w: Writer, value: number): number {
  const magnitude = w.binary(SIMD.and, value, w.words(0x7fffffff));
  const even = w.binary(SIMD.and, w.shift(i32x4.shrU, magnitude, 13), w.words(1));
  const bias = w.words(0xfff - REBIAS);
  const rounded = w.binary(i32x4.add, w.binary(i32x4.add, magnitude, bias), even);
  const normal = w.binary(i32x4.minS, w.shift(i32x4.shrS, rounded, 13), w.words(0x7c00));
  // The unit in the last place of 0.5 is 2^-24: the sum is rounded to that of subnormal numbers.
  const half = w.words(126 << 23);
  const subnormal = w.binary(i32x4.sub, w.binary(f32x4.add, magnitude, half), half);
  const isSubnormal = w.binary(i32x4.ltS, magnitude, w.words(SMALLEST_NORMAL));
  const finite = w.select(isSubnormal, subnormal, normal);
  const payload = w.binary(SIMD.and, w.shift(i32x4.shrU, magnitude, 13), w.words(0x1ff));
  const nan = w.binary(SIMD.or, payload, w.words(0x7e00));
  const unsigned = w.select(isNaN(w, value), nan, finite);
  const sign = w.binary(SIMD.and, w.shift(i32x4.shrU, value, 16), w.words(0x8000));
  return w.binary(SIMD.or, unsigned, sign);
}

function narrowToBFloat16(w: Writer, value: number): number {
  const upper = w.shift(i32x4.shrU, value, 16);
  const even = w.binary(SIMD.and, upper, w.words(1));
  const bias = w.binary(i32x4.add, even, w.words(0x7fff));
  const rounded = w.shift(i32x4.shrU, w.binary(i32x4.add, value, bias), 16);
  const quiet = w.binary(SIMD.or, upper, w.words(0x40));
  return w.select(isNaN(w, value), quiet, rounded);
}

/** A mask of the lanes that are NaN. */
export function isNaN(w: Writer, value: number): number {
  return w.binary(f32x4.ne, value, value);
}
