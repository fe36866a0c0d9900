/** The rule over whole arrays on the `js` backend, in the way that is faster for their length. */

import type { WideDtype } from "../../core/dtype.ts";
import type { FloatArray } from "../../core/host_array.ts";
import type { Factors, Lines } from "../../core/rule.ts";
import { loopsOf } from "./loops/loops.ts";
import { isAvailable, TILE, VECTOR } from "./wasm/kernel.ts";
import { commonWorkspace, findWorkspace } from "./wasm/workspace.ts";

/** Elements below which a plain loop is faster than copies into WebAssembly's memory and back. */
const SMALL = 64;

/** Steps one tensor, or a part of one. Its momentum buffer begins at element `at` of an array. */
export type Sweep = (
  dtype: WideDtype,
  lines: Lines,
  f: Factors<number>,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  at: number,
) => void;

/** The way that is faster for a tensor of this length; its parts have the same bits by it. */
export function chooseSweep(length: number): Sweep {
  return isSmall(length) ? sweepElements : sweepTiles;
}

/** Whether a plain loop is the faster way. */
export function isSmall(length: number): boolean {
  return length < SMALL || !isAvailable();
}

/**
 * Steps one tensor in WebAssembly, a tile at a time. A buffer that lies there is stepped in place,
 * as long as whole vectors do not go beyond its end.
 */
export function sweepTiles(
  dtype: WideDtype,
  lines: Lines,
  f: Factors<number>,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  at: number,
): void {
  const own = buffer === null ? undefined : findWorkspace(buffer.buffer);
  const workspace = own ?? commonWorkspace();
  const kernel = workspace.kernelOf(dtype, lines);
  const tiles = workspace.tilesOf(dtype);
  const place = own === undefined ? null : buffer!.byteOffset + at * dtype.bytes;
  for (let from = 0; from < data.length; from += TILE) {
    const to = Math.min(from + TILE, data.length);
    const part = (tile: FloatArray) => to - from === TILE ? tile : tile.subarray(0, to - from);
    tiles.param.set(data.subarray(from, to));
    tiles.grad.set(grad.subarray(from, to));
    if (place !== null && (to - from) * dtype.bytes % VECTOR === 0) {
      kernel(to - from, f, place + from * dtype.bytes);
    } else {
      if (lines.momentum === "later") tiles.buffer.set(buffer!.subarray(at + from, at + to));
      kernel(to - from, f);
      if (lines.momentum !== "none") buffer!.set(part(tiles.buffer), at + from);
    }
    data.set(part(tiles.param), from);
  }
}

/** Steps one tensor element by element. */
export const sweepElements: Sweep = (dtype, lines, f, data, grad, buffer, at) =>
  loopsOf(dtype).step(lines, f, data, grad, buffer, at);
