/** What a step does to gradients before they meet the rule, on the `js` backend. */

import { load, store } from "../convert.ts";
import { dtypeOf, FLOAT32, isSixteenBit } from "../parameter.ts";
import type { Dtype, HostArray } from "../parameter.ts";
import {
  CALL_FLAGS,
  COEFFICIENT,
  FLAG_ZERO,
  GROUP_ROW,
  groupOf,
  INVERSE_SCALE,
  isOnHost,
  MAX_VALUE,
} from "../tables.ts";
import type { CallRow, Gradients } from "../tables.ts";

/** Elements of which a partial sum is taken, and its running sums: as in the native library. */
export const BLOCK = 4096;
export const LANES = 16;

/** What is done to the gradients of a group. Factors are rounded to the type computed in. */
export interface Preparation {
  readonly inverseScale: number;
  readonly coefficient: number;
  readonly maxValue: number;
  /** Whether gradients are zeros afterwards. */
  readonly zero: boolean;
}

/** Reads what a call row, and the group table of a plan, say of a group. */
export function preparationOf(
  callRow: CallRow,
  { groupRows }: { readonly groupRows: Float64Array },
  group: number,
  dtype: Dtype,
): Preparation {
  const { round } = computeTypeOf(dtype);
  return {
    inverseScale: round(callRow[INVERSE_SCALE]),
    coefficient: round(groupRows[group * GROUP_ROW + COEFFICIENT]),
    maxValue: round(callRow[MAX_VALUE]),
    zero: (callRow[CALL_FLAGS] & FLAG_ZERO) !== 0,
  };
}

/** Writes prepared gradients to an array of the same length and dtype, which rounds each product. */
export function prepare(
  grad: HostArray,
  out: HostArray,
  { inverseScale, coefficient, maxValue }: Preparation,
): void {
  if (inverseScale === 1) out.set(grad);
  else for (let i = 0; i < grad.length; i++) out[i] = grad[i] * inverseScale;
  if (coefficient !== 1) multiply(out, coefficient);
  if (maxValue < Infinity) clamp(out, maxValue);
}

function multiply(array: HostArray, factor: number): void {
  for (let i = 0; i < array.length; i++) array[i] *= factor;
}

/** NaN is neither larger nor smaller, and stays. */
function clamp(array: HostArray, limit: number): void {
  for (let i = 0; i < array.length; i++) {
    if (array[i] > limit) array[i] = limit;
    else if (array[i] < -limit) array[i] = -limit;
  }
}

/** Does what `Backend.norm` says. */
export function addNorms(
  { grads, halves }: Gradients,
  inverseScale: number,
  sums: Float64Array,
): void {
  for (let row = 0; row < grads.length; row++) {
    if (!isOnHost(halves, row)) continue;
    const grad = grads[row] as HostArray;
    const squares = sumSquares(grad, dtypeOf(grad, "the gradient"), inverseScale);
    const group = groupOf(halves, row);
    sums[2 * group] += squares.sum;
    if (!squares.finite) sums[2 * group + 1] = 1;
  }
}

function sumSquares(grad: HostArray, dtype: Dtype, inverseScale: number) {
  const { zeros, round } = computeTypeOf(dtype);
  const factor = round(inverseScale);
  const block = zeros(Math.min(BLOCK, grad.length));
  const lanes = new Float64Array(LANES);
  let sum = 0;
  let finite = true;
  for (let from = 0; from < grad.length; from += BLOCK) {
    const part = grad.subarray(from, from + BLOCK);
    const half = isSixteenBit(dtype);
    const scaled = factor === 1 && !half ? part : block.subarray(0, part.length);
    if (half) load(part, scaled as Float32Array);
    else if (factor !== 1) scaled.set(part);
    if (factor !== 1) multiply(scaled, factor);
    const squares = sumBlock(scaled, lanes);
    sum += squares;
    // The squares of float64 may overflow where no element is infinite. 0 * Infinity is NaN.
    finite &&= Number.isFinite(squares) || scaled.every(Number.isFinite);
  }
  return { sum, finite };
}

/** The sum of a block's squares, in an order that no number of threads changes. */
function sumBlock(block: HostArray, lanes: Float64Array): number {
  for (let lane = 0; lane < LANES; lane += 4) { // four sums that do not wait for each other
    let [a, b, c, d] = [0, 0, 0, 0];
    let i = lane;
    for (; i + 3 < block.length; i += LANES) {
      a += block[i] * block[i];
      b += block[i + 1] * block[i + 1];
      c += block[i + 2] * block[i + 2];
      d += block[i + 3] * block[i + 3];
    }
    if (i < block.length) a += block[i] * block[i];
    if (i + 1 < block.length) b += block[i + 1] * block[i + 1];
    if (i + 2 < block.length) c += block[i + 2] * block[i + 2];
    lanes.set([a, b, c, d], lane);
  }
  for (const width of [8, 4, 2, 1]) {
    for (let i = 0; i < width; i++) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

/** Does what `Backend.scale` says. */
export function scaleGradients({ grads, halves, groupRows }: Gradients): void {
  for (let row = 0; row < grads.length; row++) {
    if (!isOnHost(halves, row)) continue;
    const coefficient = groupRows[groupOf(halves, row) * GROUP_ROW + COEFFICIENT];
    if (coefficient === 1) continue;
    const grad = grads[row] as HostArray;
    const dtype = dtypeOf(grad, "the gradient");
    const factor = computeTypeOf(dtype).round(coefficient);
    if (isSixteenBit(dtype)) multiplySixteenBit(grad, factor);
    else multiply(grad, factor);
  }
}

function multiplySixteenBit(grad: HostArray, factor: number): void {
  const block = new Float32Array(Math.min(BLOCK, grad.length));
  for (let from = 0; from < grad.length; from += BLOCK) {
    const part = grad.subarray(from, from + BLOCK);
    const scaled = block.subarray(0, part.length);
    load(part, scaled);
    multiply(scaled, factor);
    store(scaled, part);
  }
}

/** The type that gradients are computed with in. */
function computeTypeOf(dtype: Dtype): Dtype {
  return isSixteenBit(dtype) ? FLOAT32 : dtype;
}
