/** The `js` backend: no library, no permission, wherever TypeScript runs. */

import type { Dtype, FloatArray } from "../parameter.ts";
import type { Plan } from "../plan.ts";
import { descend, factorsOf, gradient, linesOf, velocity } from "../rule.ts";
import type { Factors, Lines } from "../rule.ts";
import { compile, isAvailable, TILE, tilesOf } from "../wasm/kernel.ts";
import type { Kernel } from "../wasm/kernel.ts";
import { arithmeticOf } from "./arithmetic.ts";
import type { Backend } from "./backend.ts";
import { stepSparse } from "./js_sparse.ts";
import { goBack } from "./js_vjp.ts";

/** Elements below which a plain loop is faster than copies into WebAssembly's memory and back. */
const SMALL = 64;

/** Each buffer gets a range of addresses of its own, as JavaScript does not tell the real ones. */
const bases = new WeakMap<ArrayBufferLike, number>();
let nextBase = 1;

/** What an entry of a plan holds that is on no device. */
interface HostArrays {
  readonly data: FloatArray;
  readonly grad: FloatArray;
  readonly buffer: FloatArray | null;
}

/** The backend. */
export const js: Backend = {
  name: "js",
  address(array: FloatArray | Uint32Array<ArrayBuffer>): number {
    let base = bases.get(array.buffer);
    if (base === undefined) {
      base = nextBase;
      nextBase += array.buffer.byteLength + 1;
      bases.set(array.buffer, base);
    }
    return base + array.byteOffset;
  },
  step(plan: Plan, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const entry = plan.entries[i];
      if (entry.grad === null || entry.dtype!.device !== undefined) continue;
      const { data, grad, buffer } = entry as HostArrays;
      const { group, state } = entry;
      const dtype = entry.dtype as Dtype;
      const h = plan.groups[group];
      const lines = linesOf(h, state.momentumBuffer === null);
      sweep(dtype, lines, factorsOf(h, dtype.round), data, grad, buffer);
    }
    const [first, end] = plan.sparse.range(from, to);
    for (const step of plan.sparse.steps.slice(first, end)) {
      const entry = plan.entries[step.row];
      const { data, buffer } = entry as HostArrays;
      const [dtype, h] = [entry.dtype as Dtype, plan.groups[entry.group]];
      const lines = linesOf(h, step.first);
      const f = factorsOf(h, dtype.round);
      const matrix = { data, buffer, dtype };
      stepSparse(step, lines, matrix, (p, g, b) => sweep(dtype, lines, f, p, g, b));
    }
  },
  goBack,
};

/** Steps one tensor in the way that is faster for its length. */
const sweep: typeof sweepElements = (dtype, lines, f, data, grad, buffer) => {
  const chosen = data.length >= SMALL && isAvailable() ? sweepTiles : sweepElements;
  chosen(dtype, lines, f, data, grad, buffer);
};

/** Steps one tensor in WebAssembly, a tile at a time. */
function sweepTiles(
  dtype: Dtype,
  lines: Lines,
  f: Factors<number>,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
): void {
  const kernel = kernelOf(dtype, lines);
  const tiles = tilesOf(dtype);
  for (let from = 0; from < data.length; from += TILE) {
    const to = Math.min(from + TILE, data.length);
    tiles.param.set(data.subarray(from, to));
    tiles.grad.set(grad.subarray(from, to));
    if (lines.momentum === "later") tiles.buffer.set(buffer!.subarray(from, to));
    kernel(to - from, f);
    const part = (tile: FloatArray) => to - from === TILE ? tile : tile.subarray(0, to - from);
    data.set(part(tiles.param), from);
    if (lines.momentum !== "none") buffer!.set(part(tiles.buffer), from);
  }
}

const kernels = new Map<string, Kernel>();

function kernelOf(dtype: Dtype, lines: Lines): Kernel {
  const key = `${dtype.name} ${lines.decay} ${lines.momentum} ${lines.nesterov} ${lines.sign}`;
  let kernel = kernels.get(key);
  if (kernel === undefined) kernels.set(key, kernel = compile(dtype, lines));
  return kernel;
}

/** Steps one tensor element by element. */
export function sweepElements(
  dtype: Dtype,
  lines: Lines,
  f: Factors<number>,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
): void {
  const a = arithmeticOf(dtype);
  const buffered = lines.momentum !== "none";
  for (let i = 0; i < data.length; i++) {
    const p = data[i];
    const g = gradient(a, f, lines, p, grad[i]);
    let b = g;
    if (buffered) buffer![i] = b = velocity(a, f, lines, g, buffer![i]);
    data[i] = descend(a, f, lines, p, g, b);
  }
}
