/**
 * Steps of short tensors, of those whose every operation is rounded, and of all where there is no
 * WebAssembly: a tile at a time in float32 or float64, element by element.
 */

import { load, store } from "../../core/convert.ts";
import { FLOAT32, isSixteenBit } from "../../core/dtype.ts";
import type { WideDtype } from "../../core/dtype.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { fillAll } from "../../core/intrinsics.ts";
import { BLOCK, decode, encode, scalesCount, scalesOffset } from "../../core/momentum8.ts";
import { joinWords, joinWords24, splitWords, splitWords24 } from "../../core/split_master.ts";
import type { Choice } from "./choice.ts";
import { computeTypeOf } from "./preparation.ts";
import { sumOf } from "./sums.ts";
import type { Numbers } from "./wasm/kernel.ts";
import { TILE } from "./wasm/memory.ts";
import type { Place } from "./wasm/state_part.ts";
import type { Arrays, Rounder } from "./wasm/sweep.ts";

/** Elements as they are computed with, and how they get back to where they are kept. */
interface Elements {
  readonly values: FloatArray;
  /** Null if they are kept as they are. */
  readonly keep: (() => void) | null;
}

/** A part of a tensor: so many elements from one on. */
interface Part {
  readonly from: number;
  readonly count: number;
}

/** Steps one tensor. */
export function stepByElement(
  choice: Choice,
  numbers: Numbers,
  arrays: Arrays,
  round: Rounder | null,
): void {
  const { lines, loops } = choice;
  const { factors, preparation } = numbers;
  const { length } = arrays.data;
  for (let from = 0; from < length; from += TILE) {
    const part = { from, count: Math.min(TILE, length - from) };
    const grad = partOf(arrays.grad, part);
    const { terms } = arrays;
    const used = terms === null ? grad : sumOf(terms, part.from, part.count);
    const prepared = gradientOf(choice, numbers, used);
    const parameter = parameterOf(choice, numbers, arrays, part, round);
    const momentum = momentumOf(choice, numbers, arrays, part);
    loops.step(lines, factors, parameter.values, prepared, momentum?.values ?? null, 0);
    parameter.keep?.();
    momentum?.keep?.();
    if (preparation?.zero) fillAll(grad, 0);
  }
}

function partOf<T extends HostArray>(array: T, { from, count }: Part): T {
  return count === array.length ? array : array.subarray(from, from + count) as T;
}

type TileName = "data" | "grad" | "buffer";

/** Tiles of the types that are computed with, by what they hold. */
const tiles: Record<TileName, Map<WideDtype, FloatArray>> = {
  data: new Map(),
  grad: new Map(),
  buffer: new Map(),
};

function wholeTileOf(type: WideDtype, name: TileName): FloatArray {
  let tile = tiles[name].get(type);
  if (tile === undefined) tiles[name].set(type, tile = type.zeros(TILE));
  return tile;
}

function tileOf(type: WideDtype, name: TileName, count: number): FloatArray {
  return wholeTileOf(type, name).subarray(0, count);
}

/** A gradient of up to a tile, of the type that is computed with, or a tile that begins with it. */
export function preparedOf(choice: Choice, grad: FloatArray): FloatArray {
  const { method: { format }, numbers: { preparation }, loops, dtype } = choice;
  if (!format.prepared) return grad;
  const tile = wholeTileOf(dtype as WideDtype, "grad");
  loops.prepare(grad, tile, preparation!);
  return tile;
}

function gradientOf(
  { dtype, method, loops }: Choice,
  { preparation }: Numbers,
  grad: HostArray,
): FloatArray {
  const { gradType, prepared } = method.format;
  const isHalf = isSixteenBit(gradType);
  if (!isHalf && !prepared) return grad as FloatArray;
  const tile = tileOf(computeTypeOf(dtype), "grad", grad.length);
  if (isHalf) load(grad, tile as Float32Array);
  if (prepared) loops.prepare(isHalf ? tile : grad as FloatArray, tile, preparation!);
  return tile;
}

function parameterOf(
  { dtype, method: { format } }: Choice,
  numbers: Numbers,
  { data, master }: Arrays,
  part: Part,
  round: Rounder | null,
): Elements {
  const own = partOf(data, part);
  if (!isSixteenBit(dtype)) return { values: own as FloatArray, keep: null };
  if (format.master === "split" || format.master === "split24") {
    return splitOf(format.master, numbers, own as Uint16Array, master!, part);
  }
  const { from, count } = part;
  const isCopied = format.master === "none";
  const values = isCopied
    ? tileOf(FLOAT32, "data", count) as Float32Array
    : new Float32Array(master!.buffer, master!.offset + 4 * from, count);
  if (isCopied) load(own, values);
  return { values, keep: () => round === null ? store(values, own) : round(values, own, from) };
}

function splitOf(
  kind: "split" | "split24",
  { key }: Numbers,
  bits: Uint16Array,
  { buffer, offset }: Place,
  { from, count }: Part,
): Elements {
  const values = tileOf(FLOAT32, "data", count) as Float32Array;
  if (kind === "split") {
    const corrections = new Int16Array(buffer, offset + 2 * from, count);
    joinWords(bits, corrections, values);
    return { values, keep: () => splitWords(values, bits, corrections) };
  }
  const corrections = new Int8Array(buffer, offset + from, count);
  joinWords24(bits, corrections, values);
  return { values, keep: () => splitWords24(values, bits, corrections, key, from / BLOCK) };
}

function momentumOf(
  { dtype, lines, isEach, method: { format } }: Choice,
  { key }: Numbers,
  { data, momentum }: Arrays,
  part: Part,
): Elements | null {
  if (momentum === null) return null;
  const { from, count } = part;
  const type = computeTypeOf(dtype);
  if (format.momentum8) {
    const at = momentum.offset + scalesOffset(data.length) + from / BLOCK;
    const codes = new Int8Array(momentum.buffer, momentum.offset + from, count);
    const scales = new Uint8Array(momentum.buffer, at, scalesCount(count));
    const values = tileOf(FLOAT32, "buffer", count) as Float32Array;
    if (lines.momentum === "later") decode(codes, scales, values);
    return { values, keep: () => encode(values, codes, scales, key, from / BLOCK) };
  }
  if (!isEach) {
    const offset = momentum.offset + from * type.bytes;
    return { values: type.view(momentum.buffer, offset, count), keep: null };
  }
  const own = dtype.view(momentum.buffer, momentum.offset + from * dtype.bytes, count);
  const values = tileOf(FLOAT32, "buffer", count) as Float32Array;
  load(own, values);
  return { values, keep: () => store(values, own) };
}
