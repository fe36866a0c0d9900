/** Norms of gradients on the `js` backend, apart from a step. */

import { load } from "../../core/convert.ts";
import type { NormType } from "../../core/device.ts";
import { dtypeOf, isSixteenBit } from "../../core/dtype.ts";
import type { Dtype } from "../../core/dtype.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { fillAll, setAll } from "../../core/intrinsics.ts";
import { joinMeasures } from "../../core/norm.ts";
import { codeOf } from "../../core/rounding.ts";
import { codeIn, groupOf, isHostRow } from "../../plan/layout.ts";
import type { Gradients } from "../../plan/layout.ts";
import type { Measure } from "../backend.ts";
import { LANES } from "./loops/float32/gradients.ts";
import { gradientLoopsOf } from "./loops/gradient_loops.ts";
import type { GradientLoops } from "./loops/gradient_loops.ts";
import { plain } from "./plain_views.ts";
import { computeTypeOf } from "./preparation.ts";
import { partOf, plainOthers, sumOf } from "./sums.ts";
import type { Terms } from "./sums.ts";
import { isSmall } from "./tiles.ts";
import { measureOf } from "./wasm/gradient_kernels.ts";
import { TILE } from "./wasm/memory.ts";
import { commonWorkspace } from "./wasm/workspace.ts";

/** Elements of which a partial sum is taken: as in the native library. */
export const BLOCK = 4096;

/** Does what `Norms.norm` says. */
export function addNorms(
  { grads, halves, addends }: Gradients,
  { inverseScale, normType }: Measure,
  sums: Float64Array,
): void {
  for (let row = 0; row < grads.length; row++) {
    if (!isHostRow(halves, row)) continue;
    const grad = plain(grads[row] as HostArray);
    const dtype = dtypeOf(grad, "the gradient");
    const isEach = isSixteenBit(dtype) && codeIn(halves, row) === codeOf(dtype, "torch");
    const others = addends.count === 0 ? null : plainOthers(addends.of(row));
    const terms = { grad, others, dtype, isEach };
    const factor = computeTypeOf(dtype).round(inverseScale);
    const own = isSmall(grad.length)
      ? measureByElement(terms, factor, normType)
      : measureInTiles(terms, factor, normType);
    const group = groupOf(halves, row);
    sums[2 * group] = joinMeasures(normType, sums[2 * group], own.measure);
    if (!own.finite) sums[2 * group + 1] = 1;
  }
}

interface Measured {
  /** What the norm is made of. */
  readonly measure: number;
  readonly finite: boolean;
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

/** The measure in WebAssembly, a tile of some blocks at a time. */
function measureInTiles(terms: Terms, factor: number, normType: NormType): Measured {
  const dtype = typeIn(terms);
  const tile = commonWorkspace().tileOf(dtype, "grad");
  const measure = measureOf(dtype, normType);
  let all = 0;
  for (let from = 0; from < terms.grad.length; from += TILE) {
    const count = fillTile(tile, gradientOf(terms, from, TILE));
    const padded = Math.ceil(count / LANES) * LANES;
    for (let block = 0; block < count; block += BLOCK) {
      const own = measure(block, Math.min(block + BLOCK, padded), factor);
      all = joinMeasures(normType, all, own);
    }
  }
  // Those of 16-bit types and of float32 cannot overflow.
  if (Number.isFinite(all) || dtype.name !== "float64") {
    return { measure: all, finite: Number.isFinite(all) };
  }
  return { measure: all, finite: measureByElement(terms, factor, normType).finite };
}

/** Copies elements to a tile, and zeros up to the next multiple of 16; returns how many there are. */
function fillTile(tile: HostArray, part: HostArray): number {
  setAll(tile, part);
  fillAll(tile, 0, part.length, Math.ceil(part.length / LANES) * LANES);
  return part.length;
}

function measureByElement(terms: Terms, factor: number, normType: NormType): Measured {
  const { length } = terms.grad;
  const dtype = typeIn(terms);
  const type = computeTypeOf(dtype);
  const loops = gradientLoopsOf(type);
  const half = isSixteenBit(dtype);
  const isRead = factor === 1 && !half; // else a copy is multiplied
  const block = isRead ? null : type.zeros(Math.min(BLOCK, length));
  let measure = 0;
  let finite = true;
  for (let from = 0; from < length; from += BLOCK) {
    const part = gradientOf(terms, from, BLOCK);
    const scaled = block?.subarray(0, part.length) ?? part as FloatArray;
    if (half) load(part, scaled as Float32Array);
    else if (factor !== 1) scaled.set(part);
    if (factor !== 1) loops.multiply(scaled, factor);
    const own = measureBlock(loops, scaled, normType);
    measure = joinMeasures(normType, measure, own);
    // Sums of float64 may overflow where no element is infinite. 0 * Infinity is NaN.
    finite &&= Number.isFinite(own) || scaled.every(Number.isFinite);
  }
  return { measure, finite };
}

function measureBlock(loops: GradientLoops, block: FloatArray, normType: NormType): number {
  if (normType === 2) return loops.sumSquares(block);
  return normType === 1 ? loops.sumMagnitudes(block) : loops.findLargest(block);
}
