/** The rule over whole arrays on the `js` backend, in the way that is faster for their length. */

import type { WideDtype } from "../../core/dtype.ts";
import type { FloatArray } from "../../core/host_array.ts";
import type { Factors, Lines } from "../../core/rule.ts";
import { loopsOf } from "./loops/loops.ts";
import { plainFormat } from "./wasm/kernel.ts";
import { isAvailable } from "./wasm/memory.ts";
import { Method } from "./wasm/sweep.ts";

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

/** How tensors are stepped to which some lines apply, that are one object for all rows of a matrix. */
const methods = new WeakMap<Lines, Method>();

function methodOf(dtype: WideDtype, lines: Lines): Method {
  let method = methods.get(lines);
  if (method?.format.dtype !== dtype) {
    methods.set(lines, method = new Method(plainFormat(dtype, lines)));
  }
  return method;
}

/** Steps one tensor in WebAssembly. */
export const sweepTiles: Sweep = (dtype, lines, factors, data, grad, buffer, at) => {
  const momentum = buffer &&
    { buffer: buffer.buffer, offset: buffer.byteOffset + at * dtype.bytes };
  const numbers = { factors, preparation: null, key: 0 };
  methodOf(dtype, lines).step(numbers, { data, grad, terms: null, momentum, master: null });
};

/** Steps one tensor element by element. */
export const sweepElements: Sweep = (dtype, lines, f, data, grad, buffer, at) =>
  loopsOf(dtype).step(lines, f, data, grad, buffer, at);
