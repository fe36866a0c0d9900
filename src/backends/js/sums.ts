/** Gradients that others are added to: their sums, a tile at a time. */

import { load, store } from "../../core/convert.ts";
import { isSixteenBit } from "../../core/dtype.ts";
import type { Dtype, WideDtype } from "../../core/dtype.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { loopsOf } from "./loops/loops.ts";
import { plain } from "./plain_views.ts";
import { computeTypeOf } from "./preparation.ts";
import { TILE } from "./wasm/memory.ts";

/** A gradient, and what is added to it. */
export interface Terms {
  readonly grad: HostArray;
  /** In order; null if it is nothing. */
  readonly others: readonly HostArray[] | null;
  readonly dtype: Dtype;
  /** Whether each sum is rounded to the dtype, and not only to the type that is computed in. */
  readonly isEach: boolean;
}

/** Tiles of one type that is computed with. */
interface Tiles {
  readonly sum: FloatArray;
  readonly term: FloatArray;
}

const tiles = new Map<WideDtype, Tiles>();

function tilesOf(type: WideDtype): Tiles {
  let own = tiles.get(type);
  if (own === undefined) {
    tiles.set(type, own = { sum: type.zeros(TILE), term: type.zeros(TILE) });
  }
  return own;
}

/** Gradients that can be added, as arrays that JavaScript's loops can go by. */
export function plainOthers(others: readonly HostArray[] | null): readonly HostArray[] | null {
  return others && others.map((array) => plain(array));
}

/**
 * The sums of up to a tile of elements, of the type that is computed with. They are overwritten by the
 * next ones.
 */
export function sumOf({ grad, others, dtype, isEach }: Terms, from: number, count: number) {
  const type = computeTypeOf(dtype);
  const { sum, term } = tilesOf(type);
  const own = sum.subarray(0, count);
  const next = term.subarray(0, count);
  read(partOf(grad, from, count), own);
  for (const other of others ?? []) {
    const part = partOf(other, from, count);
    if (isSixteenBit(dtype)) read(part, next);
    loopsOf(type).add(own, isSixteenBit(dtype) ? next : part as FloatArray);
    if (isEach) round(own as Float32Array, dtype.zeros(count));
  }
  return own;
}

function read(from: HostArray, to: FloatArray): void {
  if (from.BYTES_PER_ELEMENT === 2) load(from, to as Float32Array);
  else to.set(from);
}

function round(values: Float32Array, stored: HostArray): void {
  store(values, stored);
  load(stored, values);
}

/** Up to so many elements of an array from one on. */
export function partOf(array: HostArray, from: number, count: number): HostArray {
  return array.length <= count ? array : array.subarray(from, from + count);
}
