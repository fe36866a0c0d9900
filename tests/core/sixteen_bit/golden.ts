/** Reads what torch made of 16-bit parameters, makes the inputs, and shows arrays as bits. */

import { createHash } from "node:crypto";
import { BFloat16Array } from "@descent/sgd";
import type { GroupOptions, HostArray } from "@descent/sgd";
import { words } from "../../support/golden.ts";

export type SixteenBit = "float16" | "bfloat16";

/** One parameter over several steps. `golden/make_half.py` writes these. */
export interface HalfCase {
  readonly dtype: SixteenBit;
  readonly rounding: "torch" | "nearest";
  readonly master: boolean;
  readonly seed: number;
  readonly values: "ordinary" | "wide" | "special";
  readonly size: number;
  readonly options: GroupOptions;
  /** Of parameter, buffer and copy, after every step. */
  readonly digests: readonly string[];
  /** Some elements of these after the last step. */
  readonly samples: readonly (string | null)[];
}

interface Header {
  readonly steps: number;
  readonly special: Record<SixteenBit, readonly number[]>;
  readonly conversions: Record<SixteenBit, string>;
}

const [header, ...cases] = Deno
  .readTextFileSync(new URL("../../golden/half.jsonl", import.meta.url))
  .trim().split("\n").map((line) => JSON.parse(line)) as [Header, ...HalfCase[]];

/** All cases. */
export const halfCases: readonly HalfCase[] = cases;

/** How many steps each has. */
export const STEPS = header.steps;

/** Digests of what torch rounds `words(1, 2, 3, 2 ** 18)`, as float32, to. */
export const CONVERSIONS = header.conversions;

/** Both types. */
export const TYPES: readonly SixteenBit[] = ["float16", "bfloat16"];

/** An array of these bit patterns. */
export function fromBits(dtype: SixteenBit, bits: Uint16Array<ArrayBuffer>): HostArray {
  return dtype === "float16" ? new Float16Array(bits.buffer) : new BFloat16Array(bits.buffer);
}

/** An array of numbers, rounded to the nearest. */
export function fromNumbers(dtype: SixteenBit, values: Iterable<number>): HostArray {
  return dtype === "float16" ? Float16Array.from(values) : BFloat16Array.from(values);
}

/** The values of an array of any dtype. */
export function numbersOf(array: HostArray): number[] {
  return Array.from(array instanceof BFloat16Array ? array.toFloat32Array() : array);
}

/** Data (step 0) or a gradient: `inputs` of make_half.py. */
export function input({ dtype, values, seed, size }: HalfCase, step: number): HostArray {
  const bits = new Uint16Array(size);
  if (values === "special") {
    const table = header.special[dtype];
    for (let i = 0; i < size; i++) {
      const at = step === 0 ? i : Math.floor(i / table.length) + 5 * (step - 1);
      bits[i] = table[at % table.length];
    }
    return fromBits(dtype, bits);
  }
  bits.set(words(seed, 0, step, size));
  if (values === "ordinary") {
    const [low, exponent] = dtype === "float16" ? [10, 9] : [7, 121];
    for (let i = 0; i < size; i++) {
      const mantissa = bits[i] & (0x8000 | (1 << low) - 1);
      bits[i] = mantissa | exponent + (bits[i] >>> low & 7) << low;
    }
  }
  return fromBits(dtype, bits);
}

/** An array's bits, with one NaN for all. */
export function bitsOf(array: HostArray): Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  const copy = array.slice();
  const wide = array.BYTES_PER_ELEMENT === 4;
  const bits = wide ? new Uint32Array(copy.buffer) : new Uint16Array(copy.buffer);
  const isFloat16 = array[Symbol.toStringTag] as string === "Float16Array";
  const [infinity, nan] = wide
    ? [0x7f800000, 0x7fc00000]
    : isFloat16
    ? [0x7c00, 0x7e00]
    : [0x7f80, 0x7fc0];
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i] & (wide ? 0x7fffffff : 0x7fff)) > infinity) bits[i] = nan;
  }
  return bits;
}

/** The start of the SHA-256 of the arrays' bits. */
export function digest(arrays: readonly HostArray[]): string {
  const sha = createHash("sha256");
  for (const array of arrays) sha.update(new Uint8Array(bitsOf(array).buffer));
  return sha.digest("hex").slice(0, 16);
}

/** The elements that stand for an array, as `samples` of the golden data. */
export function samples(array: HostArray): string {
  const bits = bitsOf(array);
  const digits = 2 * array.BYTES_PER_ELEMENT;
  const at = (k: number) => Math.floor(k * (bits.length - 1) / 15);
  return Array.from({ length: 16 }, (_, k) => bits[at(k)].toString(16).padStart(digits, "0"))
    .join(" ");
}
