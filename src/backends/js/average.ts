/** Updates averages of parameters in TypeScript. */

import { load } from "../../core/convert.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { lengthOf, part, tagOf } from "../../core/intrinsics.ts";
import { joinWords, joinWords24 } from "../../core/split_master.ts";
import type { AverageUpdate } from "../../plan/averages.ts";
import type { Correction } from "../../plan/parameter_state.ts";
import { FLOAT32, FLOAT64 } from "./arithmetic.ts";
import { TILE } from "./wasm/memory.ts";

/** A parameter, and its average of the same length. */
export interface AverageTerm {
  /** The values, or float32 master weights in their place. */
  readonly values: HostArray;
  /** The lower bits of a split master weight; null for none. */
  readonly correction: Correction | null;
  /** Float64 for float64 values, otherwise float32. */
  readonly average: FloatArray;
}

/** Updates averages, as `descent_average` does. */
export function updateInScript(terms: readonly AverageTerm[], update: AverageUpdate): void {
  const tile = new Float32Array(TILE);
  for (const { values, correction, average } of terms) {
    const length = lengthOf(values);
    const own = part(values, 0, length); // without a class of the user's
    const tag = tagOf(values);
    if (tag === "Float64Array") blend64(own as Float64Array, average as Float64Array, update);
    else if (tag === "Float32Array") blend32(own as Float32Array, average as Float32Array, update);
    else {
      for (let from = 0; from < length; from += TILE) {
        const to = Math.min(from + TILE, length);
        const loaded = tile.subarray(0, to - from);
        loadPart(part(own, from, to), correction, from, loaded);
        blend32(loaded, average.subarray(from, to) as Float32Array, update);
      }
    }
  }
}

/** Reads values of a 16-bit type from an element on, with their corrections. */
function loadPart(
  values: HostArray,
  correction: Correction | null,
  from: number,
  to: Float32Array,
): void {
  if (correction === null) return load(values, to);
  const lower = correction.subarray(from, from + to.length);
  if (lower instanceof Int16Array) joinWords(values as Uint16Array, lower, to);
  else joinWords24(values as Uint16Array, lower, to);
}

// Each loop is a function of its own, so that V8 compiles it for one type of elements.

function blend32(
  values: Float32Array,
  average: Float32Array,
  { weight, divisor }: AverageUpdate,
): void {
  if (divisor === 1) return average.set(values);
  if (divisor !== 0) return mean32(values, average, Math.fround(divisor));
  const rounded = Math.fround(weight);
  if (Math.abs(rounded) < 0.5) lerpFromAverage32(values, average, rounded);
  else lerpFromValue32(values, average, rounded - 1);
}

function lerpFromAverage32(values: Float32Array, average: Float32Array, weight: number): void {
  const { fma } = FLOAT32;
  for (let i = 0; i < average.length; i++) {
    const a = average[i];
    average[i] = fma(weight, Math.fround(values[i] - a), a);
  }
}

function lerpFromValue32(values: Float32Array, average: Float32Array, factor: number): void {
  const { fma } = FLOAT32;
  for (let i = 0; i < average.length; i++) {
    const value = values[i];
    average[i] = fma(factor, Math.fround(value - average[i]), value);
  }
}

function mean32(values: Float32Array, average: Float32Array, count: number): void {
  for (let i = 0; i < average.length; i++) {
    const a = average[i];
    average[i] = a + Math.fround(Math.fround(values[i] - a) / count);
  }
}

function blend64(
  values: Float64Array,
  average: Float64Array,
  { weight, divisor }: AverageUpdate,
): void {
  if (divisor === 1) return average.set(values);
  if (divisor !== 0) return mean64(values, average, divisor);
  if (Math.abs(weight) < 0.5) lerpFromAverage64(values, average, weight);
  else lerpFromValue64(values, average, weight - 1);
}

function lerpFromAverage64(values: Float64Array, average: Float64Array, weight: number): void {
  const { fma } = FLOAT64;
  for (let i = 0; i < average.length; i++) {
    average[i] = fma(weight, values[i] - average[i], average[i]);
  }
}

function lerpFromValue64(values: Float64Array, average: Float64Array, factor: number): void {
  const { fma } = FLOAT64;
  for (let i = 0; i < average.length; i++) {
    average[i] = fma(factor, values[i] - average[i], values[i]);
  }
}

function mean64(values: Float64Array, average: Float64Array, count: number): void {
  for (let i = 0; i < average.length; i++) {
    average[i] += (values[i] - average[i]) / count;
  }
}
