/** Parameters in 16-bit types on the `js` backend, a tile at a time. */

import { load, store } from "../../core/convert.ts";
import { FLOAT32 } from "../../core/dtype.ts";
import type { Dtype } from "../../core/dtype.ts";
import type { HostArray } from "../../core/host_array.ts";
import { factorsOf, linesOf } from "../../core/rule.ts";
import type { Factors, Lines } from "../../core/rule.ts";
import { readGroup } from "../../plan/layout.ts";
import type { Plan } from "../../plan/plan.ts";
import type { RowView } from "../../plan/row_view.ts";
import { loopsOf } from "./loops/loops.ts";
import { plain } from "./plain_views.ts";
import type { Preparation } from "./preparation.ts";
import { randomOf, storeAtRandom } from "./random.ts";
import { chooseSweep } from "./tiles.ts";
import type { Sweep } from "./tiles.ts";
import { TILE } from "./wasm/kernel.ts";

/** What a tile is loaded into where its arrays are of another type. */
let tiles: Record<"data" | "grad" | "buffer", Float32Array> | undefined;

/** One parameter, and how it is stepped. */
interface Step {
  readonly dtype: Dtype;
  /** Whether every operation rounds to the dtype. */
  readonly isEach: boolean;
  readonly sweep: Sweep;
  readonly lines: Lines;
  readonly factors: Factors<number>;
  readonly preparation: Preparation | null;
}

/** The parts of its arrays that are one tile, in float32. */
interface Tile {
  readonly data: Float32Array;
  readonly grad: Float32Array;
  readonly buffer: Float32Array | null;
}

/** Steps one parameter, whose gradients are prepared if that is asked for. */
export function stepSixteenBit(
  { groupRows, callRow, isRandom }: Plan,
  view: RowView,
  preparation: Preparation | null,
): void {
  const { index, group, length } = view;
  const data = plain(view.data as HostArray);
  const grad = plain(view.grad as HostArray);
  const buffer = plain(view.buffer as HostArray);
  const master = plain(view.master);
  const h = readGroup(groupRows, group);
  const step: Step = {
    dtype: view.dtype as Dtype,
    isEach: view.bufferType === view.dtype,
    sweep: chooseSweep(length),
    lines: linesOf(h, view.isFirst),
    factors: factorsOf(h, Math.fround),
    preparation,
  };
  const random = isRandom ? randomOf(callRow, index) : null;
  for (let from = 0; from < length; from += TILE) {
    const part = <T extends HostArray>(array: T) => array.subarray(from, from + TILE) as T;
    const out = part(data);
    const own = step.lines.momentum === "none" ? null : part(buffer);
    const tile = {
      data: master === null ? loaded(out, "data") : part(master),
      grad: loaded(part(grad), "grad"),
      buffer: own && (step.isEach ? loaded(own, "buffer") : own as Float32Array),
    };
    stepTile(step, tile);
    if (random === null) store(tile.data, out);
    else storeAtRandom(tile.data, out, random, from);
    if (step.isEach && own !== null) store(tile.buffer!, own);
    if (preparation?.zero) part(grad).fill(0);
  }
}

function loaded(part: HostArray, name: "data" | "grad" | "buffer"): Float32Array {
  const create = () => new Float32Array(TILE);
  tiles ??= { data: create(), grad: create(), buffer: create() };
  const tile = tiles[name].subarray(0, part.length);
  load(part, tile);
  return tile;
}

function stepTile(
  { dtype, isEach, sweep, lines, factors, preparation }: Step,
  { data, grad, buffer }: Tile,
): void {
  const loops = loopsOf(isEach ? dtype : FLOAT32);
  if (preparation !== null) loops.prepare(grad, grad, preparation);
  if (isEach) loops.step(lines, factors, data, grad, buffer, 0);
  else sweep(FLOAT32, lines, factors, data, grad, buffer, 0);
}
