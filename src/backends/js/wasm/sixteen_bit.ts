/** WebAssembly that converts vectors of 16-bit types to float32, and back. */

import type { Dtype } from "../../../core/dtype.ts";
import { SIMD } from "./instructions.ts";
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

/** The bits of 2^-14: float16 has no normal number below it. */
const SMALLEST_NORMAL = 113 << 23;

/** No value passes through subnormal float32, which some processors handle in microcode. */
function widenFloat16(w: Writer, words: number): number {
  const bits = w.shift(i32x4.shl, w.binary(SIMD.and, words, w.words(0x7fff)), 13);
  // With exponents that are 224 too large, infinity and NaN have those of float32.
  const large = w.binary(i32x4.add, bits, w.words(224 << 23));
  const normal = w.binary(f32x4.mul, large, w.number(2 ** -112));
  // Below the normal numbers, the bits count units of 2^-24, as those of 2^-14 and above do.
  const smallest = w.words(SMALLEST_NORMAL);
  const subnormal = w.binary(f32x4.sub, w.binary(i32x4.add, bits, smallest), smallest);
  const isSubnormal = w.binary(i32x4.ltS, bits, w.words(0x400 << 13));
  const magnitude = w.select(isSubnormal, subnormal, normal);
  const sign = w.shift(i32x4.shl, w.binary(SIMD.and, words, w.words(0x8000)), 16);
  return w.binary(SIMD.or, magnitude, sign);
}

/**
 * A value is added to a power of two, the unit in the last place of which is that of the float16: the
 * sum is rounded to it. What is too large for a float16 is scaled to infinity before.
 */
function narrowToFloat16(w: Writer, value: number): number {
  const magnitude = w.binary(SIMD.and, value, w.words(0x7fffffff));
  const overflown = w.binary(f32x4.mul, magnitude, w.number(2 ** 112));
  const scaled = w.binary(f32x4.mul, overflown, w.number(2 ** -110));
  const exponent = w.binary(SIMD.and, magnitude, w.words(0x7f800000));
  const least = w.binary(i32x4.maxS, exponent, w.words(SMALLEST_NORMAL));
  const power = w.binary(i32x4.add, least, w.words(15 << 23));
  const sum = w.binary(f32x4.add, scaled, power);
  const exponents = w.binary(SIMD.and, w.shift(i32x4.shrU, sum, 13), w.words(0x7c00));
  const finite = w.binary(i32x4.add, exponents, w.binary(SIMD.and, sum, w.words(0xfff)));
  const unsigned = w.select(isNaN(w, value), w.words(0x7e00), finite);
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
