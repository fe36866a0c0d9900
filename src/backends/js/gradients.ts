/** Norms of gradients and their scaling on the `js` backend, apart from a step. */

import { load, store } from "../../core/convert.ts";
import { dtypeOf, FLOAT32, isSixteenBit } from "../../core/dtype.ts";
import type { Dtype } from "../../core/dtype.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { fillAll, setAll } from "../../core/intrinsics.ts";
import { codeOf } from "../../core/rounding.ts";
import { codeIn, COEFFICIENT, GROUP_ROW, groupOf, isHostRow } from "../../plan/layout.ts";
import type { Gradients } from "../../plan/layout.ts";
import { LANES } from "./loops/float32/gradients.ts";
import { gradientLoopsOf } from "./loops/gradient_loops.ts";
import { plain } from "./plain_views.ts";
import { computeTypeOf } from "./preparation.ts";
import { plainOthers, sumOf } from "./sums.ts";
import type { Terms } from "./sums.ts";
import { isSmall } from "./tiles.ts";
import { multiplyOf, sumSquaresOf } from "./wasm/gradient_kernels.ts";
import { TILE } from "./wasm/memory.ts";
import { commonWorkspace } from "./wasm/workspace.ts";

/** Elements of which a partial sum is taken: as in the native library. */
export const BLOCK = 4096;

/** Does what `Backend.norm` says. */
export function addNorms(
  { grads, halves, addends }: Gradients,
  inverseScale: number,
  sums: Float64Array,
): void {
  for (let row = 0; row < grads.length; row++) {
    if (!isHostRow(halves, row)) continue;
    const grad = plain(grads[row] as HostArray);
    const dtype = dtypeOf(grad, "the gradient");
    const isEach = isSixteenBit(dtype) && codeIn(halves, row) === codeOf(dtype, "torch");
    const others = addends.count === 0 ? null : plainOthers(addends.of(row));
    const squares = sumSquares({ grad, others, dtype, isEach }, inverseScale);
    const group = groupOf(halves, row);
    sums[2 * group] += squares.sum;
    if (!squares.finite) sums[2 * group + 1] = 1;
  }
}

interface Squares {
  readonly sum: number;
  readonly finite: boolean;
}

function sumSquares(terms: Terms, inverseScale: number): Squares {
  const factor = computeTypeOf(terms.dtype).round(inverseScale);
  return isSmall(terms.grad.length) ? sumByElement(terms, factor) : sumInTiles(terms, factor);
}

/** The type of what `gradientOf` returns. */
function typeIn({ dtype, others }: Terms): Dtype {
  return others === null ? dtype : computeTypeOf(dtype);
}

/** Up to so many elements of a gradient from one on, or of a sum of gradients. */
function gradientOf(terms: Terms, from: number, length: number): HostArray {
  const { grad, others } = terms;
  if (others === null) return partOf(grad, from, length);
  return sumOf(terms, from, Math.min(length, grad.length - from));
}

/** The sum in WebAssembly, a tile of some blocks at a time. */
function sumInTiles(terms: Terms, factor: number): Squares {
  const dtype = typeIn(terms);
  const tile = commonWorkspace().tileOf(dtype, "grad");
  const squaresOf = sumSquaresOf(dtype);
  let sum = 0;
  for (let from = 0; from < terms.grad.length; from += TILE) {
    const count = fillTile(tile, gradientOf(terms, from, TILE));
    for (let block = 0; block < count; block += BLOCK) {
      sum += squaresOf(block, Math.min(block + BLOCK, Math.ceil(count / LANES) * LANES), factor);
    }
  }
  // Those of 16-bit types and of float32 cannot overflow.
  if (Number.isFinite(sum) || dtype.name !== "float64") {
    return { sum, finite: Number.isFinite(sum) };
  }
  return { sum, finite: sumByElement(terms, factor).finite };
}

/** Copies elements to a tile, and zeros up to the next multiple of 16; returns how many there are. */
function fillTile(tile: HostArray, part: HostArray): number {
  setAll(tile, part);
  fillAll(tile, 0, part.length, Math.ceil(part.length / LANES) * LANES);
  return part.length;
}

function sumByElement(terms: Terms, factor: number): Squares {
  const { length } = terms.grad;
  const dtype = typeIn(terms);
  const type = computeTypeOf(dtype);
  const loops = gradientLoopsOf(type);
  const half = isSixteenBit(dtype);
  const isRead = factor === 1 && !half; // else a copy is multiplied
  const block = isRead ? null : type.zeros(Math.min(BLOCK, length));
  let sum = 0;
  let finite = true;
  for (let from = 0; from < length; from += BLOCK) {
    const part = gradientOf(terms, from, BLOCK);
    const scaled = block?.subarray(0, part.length) ?? part as FloatArray;
    if (half) load(part, scaled as Float32Array);
    else if (factor !== 1) scaled.set(part);
    if (factor !== 1) loops.multiply(scaled, factor);
    const squares = loops.sumSquares(scaled);
    sum += squares;
    // The squares of float64 may overflow where no element is infinite. 0 * Infinity is NaN.
    finite &&= Number.isFinite(squares) || scaled.every(Number.isFinite);
  }
  return { sum, finite };
}

function partOf(array: HostArray, from: number, length: number): HostArray {
  return array.length <= length ? array : array.subarray(from, from + length);
}

/** Does what `Backend.scale` says. */
export function scaleGradients({ grads, halves, groupRows }: Gradients): void {
  for (let row = 0; row < grads.length; row++) {
    if (!isHostRow(halves, row)) continue;
    const coefficient = groupRows[groupOf(halves, row) * GROUP_ROW + COEFFICIENT];
    if (coefficient === 1) continue;
    const grad = plain(grads[row] as HostArray);
    const dtype = dtypeOf(grad, "the gradient");
    const type = computeTypeOf(dtype);
    const factor = type.round(coefficient);
    if (!isSmall(grad.length)) multiplyInTiles(grad, dtype, factor);
    else if (isSixteenBit(dtype)) multiplySixteenBit(grad, factor);
    else gradientLoopsOf(type).multiply(grad as FloatArray, factor);
  }
}

/** The products in WebAssembly, a tile at a time. */
function multiplyInTiles(grad: HostArray, dtype: Dtype, factor: number): void {
  const tile = commonWorkspace().tileOf(dtype, "grad");
  const multiply = multiplyOf(dtype);
  for (let from = 0; from < grad.length; from += TILE) {
    const part = partOf(grad, from, TILE);
    setAll(tile, part);
    multiply(part.length, factor);
    setAll(part, part.length === TILE ? tile : tile.subarray(0, part.length));
  }
}

function multiplySixteenBit(grad: HostArray, factor: number): void {
  const { multiply } = gradientLoopsOf(FLOAT32);
  const block = new Float32Array(Math.min(BLOCK, grad.length));
  for (let from = 0; from < grad.length; from += BLOCK) {
    const part = partOf(grad, from, BLOCK);
    const scaled = block.subarray(0, part.length);
    load(part, scaled);
    multiply(scaled, factor);
    store(scaled, part);
  }
}
