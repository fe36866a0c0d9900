/** Changes of gradients in place on the `js` backend, apart from a step. */

import { load, store } from "../../core/convert.ts";
import { dtypeOf, FLOAT32, isSixteenBit } from "../../core/dtype.ts";
import type { Dtype } from "../../core/dtype.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { setAll } from "../../core/intrinsics.ts";
import { COEFFICIENT, GROUP_ROW, groupOf, isHostRow } from "../../plan/layout.ts";
import type { Gradients } from "../../plan/layout.ts";
import type { Changes } from "../backend.ts";
import { loopsOf } from "./loops/loops.ts";
import { BLOCK } from "./norms.ts";
import { plain } from "./plain_views.ts";
import { computeTypeOf, prepared } from "./preparation.ts";
import type { Preparation } from "./preparation.ts";
import { partOf } from "./sums.ts";
import { isSmall } from "./tiles.ts";
import { prepareOf } from "./wasm/gradient_kernels.ts";
import { TILE } from "./wasm/memory.ts";
import { commonWorkspace } from "./wasm/workspace.ts";

/** Does what `Norms.prepare` says. */
export function prepareGradients(
  { grads, halves, groupRows }: Gradients,
  { inverseScale, maxValue }: Changes,
): void {
  for (let row = 0; row < grads.length; row++) {
    if (!isHostRow(halves, row)) continue;
    const coefficient = groupRows[groupOf(halves, row) * GROUP_ROW + COEFFICIENT];
    const grad = plain(grads[row] as HostArray);
    const dtype = dtypeOf(grad, "the gradient");
    const type = computeTypeOf(dtype);
    const preparation = prepared(type, { inverseScale, coefficient, maxValue, zero: false });
    if (preparation.isNeutral) continue;
    if (!isSmall(grad.length)) prepareInTiles(grad, dtype, preparation);
    else if (isSixteenBit(dtype)) prepareSixteenBit(grad, preparation);
    else loopsOf(type).prepare(grad as FloatArray, grad as FloatArray, preparation);
  }
}

/** In WebAssembly, a tile at a time. */
function prepareInTiles(grad: HostArray, dtype: Dtype, preparation: Preparation): void {
  const tile = commonWorkspace().tileOf(dtype, "grad");
  const prepare = prepareOf(dtype);
  const { inverseScale, coefficient, maxValue } = preparation;
  for (let from = 0; from < grad.length; from += TILE) {
    const part = partOf(grad, from, TILE);
    setAll(tile, part);
    prepare(part.length, inverseScale, coefficient, maxValue);
    setAll(part, part.length === TILE ? tile : tile.subarray(0, part.length));
  }
}

function prepareSixteenBit(grad: HostArray, preparation: Preparation): void {
  const { prepare } = loopsOf(FLOAT32);
  const block = new Float32Array(Math.min(BLOCK, grad.length));
  for (let from = 0; from < grad.length; from += BLOCK) {
    const part = partOf(grad, from, BLOCK);
    const own = block.subarray(0, part.length);
    load(part, own);
    prepare(own, own, preparation);
    store(own, part);
  }
}
