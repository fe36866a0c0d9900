/** Reads the golden trajectories, makes their inputs, and compares arrays with their results. */

import { createHash } from "node:crypto";
import type { FloatArray, GroupOptions } from "@descent/sgd";

export type DtypeName = "float32" | "float64";

/** A tensor of a trajectory. */
export interface TensorSpec {
  readonly size?: number;
  /** The steps, counted from 1, at which it has no gradient. */
  readonly without?: readonly number[];
  /** Bit patterns, where the inputs are not generated. */
  readonly data?: string;
  readonly grads?: readonly string[];
}

/** What torch made of an array: its bits, or a digest of them and a few elements. */
export type Result = string | { readonly digest: string; readonly samples: string };

/** One optimizer over several steps, as torch ran it. `golden/make_golden.py` writes these. */
export interface Trajectory {
  readonly case: string;
  readonly family: string;
  readonly dtype: DtypeName;
  readonly seed: number;
  readonly values?: "ordinary" | "wide" | "special";
  readonly steps: number;
  readonly tensors: readonly TensorSpec[];
  /** Tensors by their number, and the step before which the group is added (1 at the latest). */
  readonly groups: readonly {
    readonly options: GroupOptions;
    readonly tensors: readonly number[];
    readonly from?: number;
  }[];
  readonly changes?: readonly {
    readonly before: number;
    readonly group: number;
    readonly options: GroupOptions;
  }[];
  /** A digest of all data and buffers after every step; not for the largest. */
  readonly digests?: readonly string[];
  /** Every tensor after the last step. */
  readonly results: readonly { readonly data: Result; readonly buffer: Result | null }[];
}

const ARRAYS = { float32: Float32Array, float64: Float64Array };

const [header, ...lines] = Deno
  .readTextFileSync(new URL("../golden/trajectories.jsonl", import.meta.url))
  .trim().split("\n").map((line) => JSON.parse(line));

/** All trajectories. */
export const trajectories: readonly Trajectory[] = readTrajectories();

const special = {
  float32: fromHex("float32", header.special.float32),
  float64: fromHex("float64", header.special.float64),
};

function readTrajectories(): Trajectory[] {
  const read: Trajectory[] = [];
  for (const line of lines) {
    if ("case" in line) read.push({ ...line, results: [] });
    else (read.at(-1)!.results as unknown[]).push(line);
  }
  return read;
}

// What follows is in make_golden.py too, and has to make the same bits.

function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}

/** The words from which one array is made; step 0 is the data, step n the n-th gradient. */
export function words(seed: number, tensor: number, step: number, count: number) {
  const key = mix(mix(mix(seed) ^ tensor) ^ step);
  const out = new Uint32Array(count);
  for (let i = 0; i < count; i++) out[i] = mix(key + i);
  return out;
}

/**
 * Deterministic values. `ordinary`: magnitudes of 2^-6 to 4 with random mantissas; `wide`: any bits
 * at all; `special`: zeros, infinities, NaN, subnormals and huge values, such that data (step 0) and
 * gradients (later steps) meet in every pairing.
 */
export function generate(
  dtype: DtypeName,
  kind: "ordinary" | "wide" | "special",
  [seed, tensor, step]: readonly [seed: number, tensor: number, step: number],
  size: number,
): FloatArray {
  if (kind === "special") {
    const table = special[dtype];
    const at = (i: number) => step === 0 ? i : Math.floor(i / table.length) + 5 * (step - 1);
    return new ARRAYS[dtype](size).map((_, i) => table[at(i) % table.length]);
  }
  const w = words(seed, tensor, step, dtype === "float32" ? size : 2 * size);
  if (kind === "ordinary" && dtype === "float32") {
    for (let i = 0; i < w.length; i++) {
      w[i] = (w[i] & 0x807fffff) | ((121 + ((w[i] >>> 23) & 7)) << 23);
    }
  } else if (kind === "ordinary") {
    for (let i = 1; i < w.length; i += 2) { // the high words
      w[i] = (w[i] & 0x800fffff) | ((1017 + ((w[i] >>> 20) & 7)) << 20);
    }
  }
  return new ARRAYS[dtype](w.buffer);
}

/** The data (step 0) or the gradient of a tensor, or null where it has none. */
export function input(t: Trajectory, tensor: number, step: number): FloatArray | null {
  const { data, grads, size, without } = t.tensors[tensor];
  if (without?.includes(step)) return null;
  if (data !== undefined) return fromHex(t.dtype, step === 0 ? data : grads![step - 1]);
  return generate(t.dtype, t.values ?? "ordinary", [t.seed, tensor, step], size!);
}

/** Bit patterns as numbers. */
export function fromHex(dtype: DtypeName, text: string): FloatArray {
  const bits = text === "" ? [] : text.split(" ").map((word) => BigInt(`0x${word}`));
  return dtype === "float32"
    ? new Float32Array(Uint32Array.from(bits, Number).buffer)
    : new Float64Array(BigUint64Array.from(bits).buffer);
}

/** Numbers as bit patterns, with one NaN for all. */
export function toHex(array: FloatArray): string {
  const { buffer } = canonical(array);
  const bits = array.BYTES_PER_ELEMENT === 4 ? new Uint32Array(buffer) : new BigUint64Array(buffer);
  const digits = 2 * array.BYTES_PER_ELEMENT;
  return [...bits].map((word) => word.toString(16).padStart(digits, "0")).join(" ");
}

/** The start of the SHA-256 of the arrays' bytes, with one NaN for all. */
export function digest(arrays: readonly FloatArray[]): string {
  const sha = createHash("sha256");
  for (const array of arrays) sha.update(canonical(array));
  return sha.digest("hex").slice(0, 16);
}

/** The elements that stand for a long array. */
export function samples(array: FloatArray): FloatArray {
  const count = array.length <= 70 ? 3 : 16;
  const at = (k: number) => Math.floor(k * (array.length - 1) / (count - 1));
  return (array as Float64Array).slice(0, count).map((_, k) => array[at(k)]);
}

function canonical(array: FloatArray): Uint8Array<ArrayBuffer> {
  const copy = array.slice();
  const bits = new Uint32Array(copy.buffer);
  const wide = array.BYTES_PER_ELEMENT === 8;
  for (let i = 0; i < copy.length; i++) {
    if (copy[i] === copy[i]) continue;
    if (wide) bits[2 * i] = 0;
    bits[wide ? 2 * i + 1 : i] = wide ? 0x7ff80000 : 0x7fc00000;
  }
  return new Uint8Array(copy.buffer);
}
