/** Random bits by position: ChaCha with 8 rounds, as RFC 8439 has it with 20. */

const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]; // "expand 32-byte k"

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
