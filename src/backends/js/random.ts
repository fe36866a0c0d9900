/** Random bits for stochastic rounding on the `js` backend: those of the native library. */

import { narrowWord } from "../../core/bfloat16_bits.ts";
import { isBFloat16Array } from "../../core/bfloat16_class.ts";
import { wordsOf } from "../../core/convert.ts";
import type { HostArray } from "../../core/host_array.ts";
import { COUNTER, SEED_HIGH, SEED_LOW } from "../../plan/layout.ts";

const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];
// "expand 32-byte k"

/** Words of a block. */
export const BLOCK = 16;

/** A key stream of blocks of 16 words, in 2^64 streams of 2^64 blocks for every key. */
export class ChaCha8 {
  /** The last block that was made. */
  readonly block: Uint32Array<ArrayBuffer> = new Uint32Array(BLOCK);
  readonly #start: Uint32Array<ArrayBuffer> = new Uint32Array(BLOCK);

  /**
   * @param key Up to 8 words; the rest are zeros.
   * @param stream Which of the key's streams, below 2^53.
   */
  constructor(key: readonly number[], stream: number) {
    this.#start.set(CONSTANTS);
    this.#start.set(key, 4);
    this.#start[14] = stream % 2 ** 32;
    this.#start[15] = Math.floor(stream / 2 ** 32);
  }

  /** Makes the block with a number below 2^53. */
  make(number: number): void {
    const { block } = this;
    const start = this.#start;
    start[12] = number % 2 ** 32;
    start[13] = Math.floor(number / 2 ** 32);
    block.set(start);
    for (let round = 0; round < 8; round += 2) {
      for (let i = 0; i < 4; i++) mix(block, i, i + 4, i + 8, i + 12);
      for (let i = 0; i < 4; i++) {
        mix(block, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
      }
    }
    for (let i = 0; i < BLOCK; i++) block[i] += start[i];
  }
}

/** A quarter round. */
function mix(x: Uint32Array, a: number, b: number, c: number, d: number): void {
  x[a] += x[b];
  x[d] = rotate(x[d] ^ x[a], 16);
  x[c] += x[d];
  x[b] = rotate(x[b] ^ x[c], 12);
  x[a] += x[b];
  x[d] = rotate(x[d] ^ x[a], 8);
  x[c] += x[d];
  x[b] = rotate(x[b] ^ x[c], 7);
}

const rotate = (word: number, bits: number): number => word << bits | word >>> (32 - bits);

/** Elements whose random bits, 16 for each, are one block of the generator. */
const ELEMENTS = 2 * BLOCK;

/** The random bits of one tensor in one step. */
export function randomOf(callRow: Float64Array, row: number): ChaCha8 {
  return new ChaCha8([callRow[SEED_LOW], callRow[SEED_HIGH], row], callRow[COUNTER]);
}

/**
 * Rounds each value to one of its two neighbors, with chances that make the mean exact.
 *
 * @param first The number of the first element in its tensor: a multiple of 32.
 */
export function storeAtRandom(
  from: Float32Array,
  to: HostArray,
  random: ChaCha8,
  first: number,
): void {
  const words = wordsOf(from);
  const isBFloat16 = isBFloat16Array(to);
  const bits = isBFloat16 ? to : new Uint16Array(to.buffer, to.byteOffset, to.length);
  for (let i = 0; i < words.length; i++) {
    if (i % ELEMENTS === 0) random.make((first + i) / ELEMENTS);
    const word = random.block[i % ELEMENTS >> 1];
    const r = i % 2 === 0 ? word & 0xffff : word >>> 16;
    bits[i] = isBFloat16 ? bfloat16Bits(words[i], r) : float16Bits(words[i], r);
  }
}

/** Truncates after adding a random number below one unit in the last place. */
function bfloat16Bits(word: number, r: number): number {
  return isFinite(word) ? word + r >>> 16 : narrowWord(word);
}

/** As above; below 2^-14 the unit of float16 stays 2^-24, and its bits are a count of units. */
function float16Bits(word: number, r: number): number {
  const sign = word >>> 16 & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7e00; // NaN
  if (magnitude < 0x38800000) {
    return sign | unitsOf(magnitude) + r >>> 16;
  }
  const exponents = (magnitude + (r >>> 3) >>> 13) - (112 << 10); // from a bias of 127 to one of 15
  return sign | Math.min(exponents, 0x7c00);
}

/** The magnitude of a float32 below 2^-14 in units of 2^-40, rounded down. */
function unitsOf(magnitude: number): number {
  const exponent = magnitude >>> 23;
  const mantissa = magnitude & 0x7fffff | (exponent === 0 ? 0 : 0x800000);
  // The mantissa counts units of 2^(exponent - 150).
  const shift = 110 - exponent;
  return shift > 31 ? 0 : shift >= 0 ? mantissa >>> shift : mantissa << -shift;
}

const isFinite = (word: number): boolean => (word & 0x7f800000) !== 0x7f800000;
