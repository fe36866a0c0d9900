/** Random tensors of all kinds. */

/** A generator of words that is the same on every machine. */
export function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = state + 0x6d2b79f5 | 0;
    let word = Math.imul(state ^ state >>> 15, state | 1);
    word ^= word + Math.imul(word ^ word >>> 7, word | 61);
    return (word ^ word >>> 14) >>> 0;
  };
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

function fromWord(bits: number): number {
  word[0] = bits;
  return float[0];
}

/** Kinds of values, from a generator of words. */
export const KINDS: Readonly<Record<string, (random: () => number) => number>> = {
  "any bits": (random) => fromWord(random()),
  "one exponent": (random) => fromWord(random() & 0x807fffff | 0x3f800000),
  "a wide range": (random) => (random() / 2 ** 31 - 1) * 2 ** (random() % 60 - 30),
  "subnormals": (random) => fromWord(random() & 0x807fffff),
  "small": (random) => fromWord(random() & 0x8fffffff),
  "near the largest": (random) => fromWord(random() & 0x8003ffff | 0x7f7c0000),
  "zeros": (random) => random() % 8 === 0 ? 2 ** -20 : random() % 2 === 0 ? 0 : -0,
  "whole and half codes": (random) => (random() % 255 - 127) / (random() % 2 + 1),
  "with infinities and NaN": (random) =>
    random() % 8 > 0 ? random() / 2 ** 32 : [Infinity, -Infinity, NaN][random() % 3],
};

/** A tensor of 1 to 199 elements of a kind. */
export function createTensor(random: () => number, kind: string): Float32Array {
  return Float32Array.from({ length: 1 + random() % 199 }, () => KINDS[kind](random));
}
