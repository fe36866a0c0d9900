/**
 * Momentum in 8 bits: blocks of 32 elements, each with the exponent of its step, rounded with a dither.
 *
 * `docs/formats.md` defines the format. Every operation is exact or rounded once, so that the native
 * library and WebAssembly have the same bits.
 */

import type { RandomState } from "./rounding.ts";

/** Elements that share a scale. */
export const BLOCK = 32;

/** The fewest elements of a parameter whose momentum is kept in 8 bits. */
export const FEWEST_ELEMENTS = 4096;

/** What the place of the scales and the size of the whole are multiples of, in bytes. */
const ALIGNMENT = 64;

/** 127 * 2^121 as the bits of a float32: the largest magnitude that has a code. */
const LARGEST_FINITE = 0x7f7e0000;

/** The code of what is NaN, infinite or larger than that. */
const NOT_FINITE = -128;

/** The exponent of the smallest step, 2^-109: no value that is decoded is subnormal. */
export const SMALLEST_SCALE = 18;

/** The exponent of the largest step. */
export const LARGEST_SCALE = 248;

/** What the random bits of neighboring elements differ by. */
const LANE = 0x9e3779b9;

/** Rounds a float32 below 2^22 to a whole number, ties to even, if it is added and taken away. */
const ROUNDER = 1.5 * 2 ** 23;

/** By the bits of an exponent, the power of two that has them; 0 for 0. */
const POWERS = new Float32Array(Uint32Array.from({ length: 256 }, (_, i) => i << 23).buffer);

/** Bytes of the values and of the padding behind them: where the scales begin. */
export function scalesOffset(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

/** Scales of a tensor, one byte each. */
export function scalesCount(length: number): number {
  return Math.ceil(length / BLOCK);
}

/** Bytes of the momentum of so many elements: values, padding, scales, padding. */
export function bytesOf(length: number): number {
  return scalesOffset(length) + Math.ceil(scalesCount(length) / ALIGNMENT) * ALIGNMENT;
}

/** What the random bits of one tensor in one step depend on. */
export function keyOf({ seed, counter }: RandomState, row: number): number {
  return (seed | 0) + Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1) +
      Math.imul(counter, 0x91e10da5) + Math.imul(row, 0xc13fa9a9) | 0;
}

/** The random bits of the first element of a block; those of the others follow from `laneOf`. */
export function hashBlock(key: number, block: number): number {
  let word = Math.imul(key + block, 0x9e3779b1);
  word = Math.imul(word ^ word >>> 15, 0x85ebca77);
  return word ^ word >>> 13;
}

/** What the random bits of an element of a block differ by from those of the first. */
export function laneOf(element: number): number {
  return Math.imul(element, LANE);
}

/**
 * Encodes values, rounded with the dither of one tensor in one step.
 *
 * @param values Receives one code for each value.
 * @param scales Receives one exponent for each block.
 * @param key `keyOf` the step and the tensor.
 * @param firstBlock The number of the first block in its tensor.
 */
export function encode(
  x: Float32Array,
  values: Int8Array,
  scales: Uint8Array,
  key: number,
  firstBlock: number = 0,
): void {
  const bits = new Int32Array(x.buffer, x.byteOffset, x.length);
  for (let from = 0, block = 0; from < x.length; from += BLOCK, block++) {
    const end = Math.min(from + BLOCK, x.length);
    const scale = scales[block] = scaleOf(bits, from, end);
    const inverse = POWERS[254 - scale];
    let word = hashBlock(key, firstBlock + block);
    for (let i = from; i < end; i++) {
      const dither = (word >> 16 | 1) * 2 ** -16;
      values[i] = codeOf(x[i], bits[i], inverse, dither);
      word = word + LANE | 0;
    }
  }
}

/** Encodes values, each rounded to the nearest, ties to even: how float32 momentum is converted. */
export function encodeNearest(x: Float32Array, values: Int8Array, scales: Uint8Array): void {
  const bits = new Int32Array(x.buffer, x.byteOffset, x.length);
  for (let from = 0, block = 0; from < x.length; from += BLOCK, block++) {
    const end = Math.min(from + BLOCK, x.length);
    const scale = scales[block] = scaleOf(bits, from, end);
    const inverse = POWERS[254 - scale];
    for (let i = from; i < end; i++) values[i] = codeOf(x[i], bits[i], inverse, 0);
  }
}

/** The exponent of the step of a block: the largest of its finite values is at most 127 steps. */
function scaleOf(bits: Int32Array, from: number, end: number): number {
  let largest = 0;
  for (let i = from; i < end; i++) {
    const magnitude = bits[i] & 0x7fffffff;
    if (magnitude > largest && magnitude <= LARGEST_FINITE) largest = magnitude;
  }
  return Math.max(largest + 0x1ffff >>> 23, SMALLEST_SCALE + 6) - 6;
}

function codeOf(value: number, bits: number, inverse: number, dither: number): number {
  if ((bits & 0x7fffffff) > LARGEST_FINITE) return NOT_FINITE;
  // The product is exact in float64, and the sum of two float32 is rounded to float32 as if once.
  const steps = Math.fround(value * inverse + dither);
  return Math.fround(steps + ROUNDER) - ROUNDER;
}

/** Decodes values, which is exact; what was not finite is NaN. */
export function decode(values: Int8Array, scales: Uint8Array, out: Float32Array): void {
  for (let from = 0, block = 0; from < out.length; from += BLOCK, block++) {
    const end = Math.min(from + BLOCK, out.length);
    const step = POWERS[scales[block]];
    for (let i = from; i < end; i++) {
      const code = values[i];
      out[i] = code === NOT_FINITE ? NaN : code * step;
    }
  }
}
