/**
 * The formats of docs/formats.md, written from their definitions: whole numbers are BigInt and
 * fractions are rounded by hand, so that nothing here is shared with the code under test.
 */

const WORD = 0xffffffffn;

/** The bits of a float32. */
export function bitsOf(value: number): bigint {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}

/** The float32 of some bits. */
export function floatOf(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, Number(bits));
  return view.getFloat32(0);
}

function hash(word: bigint): bigint {
  let b = (word & WORD) * 0x9e3779b1n & WORD;
  b ^= b >> 15n;
  b = b * 0x85ebca77n & WORD;
  return b ^ b >> 13n;
}

/** The key of a step and a tensor. */
export function keyOf(seed: number, counter: number, row: number): bigint {
  const whole = BigInt(seed);
  return ((whole & WORD) + (whole >> 32n) * 0x9e3779b1n + BigInt(counter) * 0x91e10da5n +
    BigInt(row) * 0xc13fa9a9n) & WORD;
}

/** The random word of an element of a tensor. */
export function wordAt(key: bigint, element: number): bigint {
  return hash(BigInt(element >> 5) + key) + BigInt(element & 31) * 0x9e3779b9n & WORD;
}

/** A fraction of 2^-300: fine enough for all that is added here. */
const ONE = 1n << 300n;

/** A finite float32 as such a fraction. */
function exactly(value: number): bigint {
  const bits = bitsOf(value);
  const exponent = bits >> 23n & 0xffn;
  const mantissa = bits & 0x7fffffn | (exponent === 0n ? 0n : 0x800000n);
  const power = (exponent === 0n ? 1n : exponent) - 150n + 300n;
  const magnitude = mantissa << power;
  return bits >> 31n === 1n ? -magnitude : magnitude;
}

/** The nearest multiple of a unit, ties to even multiples. */
function nearest(value: bigint, unit: bigint): bigint {
  const [sign, magnitude] = value < 0n ? [-1n, -value] : [1n, value];
  const [quotient, rest] = [magnitude / unit, magnitude % unit];
  const isUp = 2n * rest > unit || (2n * rest === unit && quotient % 2n === 1n);
  return sign * (quotient + (isUp ? 1n : 0n)) * unit;
}

/** The nearest float32 of 24 bits. What is smaller than any of them does not matter here. */
function toFloat32(value: bigint): bigint {
  const bits = (value < 0n ? -value : value).toString(2).length;
  return bits <= 24 ? value : nearest(value, 1n << BigInt(bits - 24));
}

/** Encodes a tensor; a null key rounds to the nearest. */
export function encode(
  x: Float32Array,
  key: bigint | null,
): { values: number[]; scales: number[] } {
  const scales: number[] = [];
  const values = Array.from(x, (value, i) => {
    if (i % 32 === 0) scales.push(scaleOf(x.subarray(i, i + 32)));
    return codeOf(value, scales[i >> 5], key === null ? 0n : ditherAt(key, i));
  });
  return { values, scales };
}

const isCoded = (value: number) => (bitsOf(value) & 0x7fffffffn) <= 0x7f7e0000n;

function scaleOf(block: Float32Array): number {
  const magnitudes = [...block].filter(isCoded).map((value) => bitsOf(value) & 0x7fffffffn);
  const largest = magnitudes.reduce((a, b) => a > b ? a : b, 0n);
  const exponent = Number(largest + 0x1ffffn >> 23n);
  return (exponent < 24 ? 24 : exponent) - 6;
}

function ditherAt(key: bigint, element: number): bigint {
  const signed = BigInt.asIntN(32, wordAt(key, element)) >> 16n | 1n;
  return signed * (ONE >> 16n);
}

function codeOf(value: number, scale: number, dither: bigint): number {
  if (!isCoded(value)) return -128;
  const power = 127 - scale;
  const scaled = power < 0 ? exactly(value) >> BigInt(-power) : exactly(value) << BigInt(power);
  return Number(nearest(toFloat32(scaled + dither), ONE) / ONE);
}

/** Decodes a tensor. */
export function decode(values: ArrayLike<number>, scales: ArrayLike<number>): number[] {
  return Array.from(values, (code, i) => code === -128 ? NaN : code * 2 ** (scales[i >> 5] - 127));
}

/** A split master weight: the parameter's bits, and the correction. */
export interface Split {
  readonly param: number;
  readonly correction: number;
}

const isNaNWord = (word: bigint) => (word & 0x7fffffffn) > 0x7f800000n;

/** Splits a word into 16 bits and 16 bits. */
export function split(word: bigint): Split {
  if (isNaNWord(word)) return { param: Number(word >> 16n | 0x40n), correction: 0 };
  const param = Number((word + 0x8000n & WORD) >> 16n);
  return { param, correction: Number(BigInt.asIntN(16, word)) };
}

/** Splits a word into 16 bits and 8 bits; a null key rounds to the nearest. */
export function split24(word: bigint, key: bigint | null, element: number): Split {
  if (isNaNWord(word)) return { param: Number(word >> 16n | 0x40n), correction: 0 };
  const added = key === null
    ? 0x7fn + (word >> 8n & 1n)
    : wordAt(key + 0x7f4a7c15n, element) >> 24n;
  const rounded = word + added & WORD & ~0xffn;
  const param = Number((rounded + 0x8000n & WORD) >> 16n);
  return { param, correction: Number(BigInt.asIntN(8, rounded >> 8n)) };
}

/** The word of a split master weight, of which a correction counts `unit` each. */
export function join({ param, correction }: Split, unit: bigint): bigint {
  const magnitude = param & 0x7fff;
  const least = magnitude === 0 ? Math.max(correction, 0) : correction;
  const most = magnitude === 0x7f80 ? Math.min(least, 0) : least;
  return (BigInt(param) << 16n) + BigInt(most) * unit & WORD;
}
