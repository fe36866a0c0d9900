/** Seeded random numbers: the same seed and stream give the same numbers on every machine. */

import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/**
 * What random numbers are drawn for. Each purpose has a stream of its own, so the order of epoch 7
 * depends on nothing but the seed and the 7.
 */
export const STREAM = {
  split: 1,
  weights: 2,
  /** Epochs count from 1. */
  epoch: (epoch: number): number => 2 + epoch,
} as const;

/** A generator of random numbers; drawing from it changes it. */
export type Random = ReturnType<typeof xoroshiro128plus>;

/** The generator of one stream; streams of a seed lie 2^64 numbers apart. */
export function openStream(seed: number, stream: number): Random {
  const random = xoroshiro128plus(seed);
  for (let i = 0; i < stream; i++) random.jump();
  return random;
}

/** A number in [-limit, limit). */
export function uniform(random: Random, limit: number): number {
  return (2 * uniformFloat64(random) - 1) * limit;
}

/** The numbers 0 to length - 1 in random order (Fisher-Yates). */
export function permutation(random: Random, length: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = uniformInt(random, 0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
