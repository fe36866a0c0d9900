/** Seeded choices: the same seed makes the same choices, on every machine and for every backend. */

import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** A stream of choices. */
export class Random {
  readonly #generator: ReturnType<typeof xoroshiro128plus>;

  constructor(seed: number) {
    this.#generator = xoroshiro128plus(seed | 0);
  }

  /** A whole number from `from` to `to`, both included. */
  int(from: number, to: number): number {
    return uniformInt(this.#generator, from, to);
  }

  /** A number in [0, 1). */
  float(): number {
    return uniformFloat64(this.#generator);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** One of a list. */
  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)];
  }

  /** One of a list, each as often as its weight says. */
  weighted<T extends { readonly weight: number }>(list: readonly T[]): T {
    let left = this.float() * list.reduce((sum, { weight }) => sum + weight, 0);
    return list.find(({ weight }) => (left -= weight) < 0) ?? list[list.length - 1];
  }

  /** Some of the entries of an object, each with this probability. */
  some<T extends object>(
    entries: { readonly [K in keyof T]: () => T[K] },
    probability: number,
  ): Partial<T> {
    const chosen: Partial<T> = {};
    for (const key of Object.keys(entries) as (keyof T)[]) {
      if (this.chance(probability)) chosen[key] = entries[key]();
    }
    return chosen;
  }
}

/** The seed of a part of a run, from that of the whole and the number of the part. */
export function seedOf(seed: number, part: number): number {
  let x = Math.imul(seed, 0x9e3779b1) + Math.imul(part + 1, 0x85ebca6b) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}
