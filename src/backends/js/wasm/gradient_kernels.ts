/** WebAssembly for gradients outside a step: sums of squares, and multiplication. */

import type { Dtype } from "../../../core/dtype.ts";
import { computeTypeOf } from "../preparation.ts";
import { op, simd, TYPE } from "./assembler.ts";
import { SIMD } from "./instructions.ts";
import { instantiate, TILES } from "./memory.ts";
import { streamOf } from "./streams.ts";
import { cached, commonWorkspace } from "./workspace.ts";
import { VECTOR, Writer } from "./writer.ts";

const { add, mul, extractLane } = SIMD.f64x2;

/** Running sums of a block, as in the native library. */
const LANES = 16;

/**
 * The sum of the squares of the elements of a gradient's tile, from one on to before another one, each
 * multiplied by a factor. Both are multiples of 16.
 */
export type SumSquares = (from: number, to: number, factor: number) => number;

/** Multiplies the first elements of a gradient's tile, rounded up to a whole vector. */
export type Multiply = (count: number, factor: number) => void;

/** The parameters of both functions. */
const PARAM = { end: 0, from: 1, factor: 2 } as const;

function writerOf(dtype: Dtype): Writer {
  const single = computeTypeOf(dtype).name === "float32";
  const params = [TYPE.i32, TYPE.i32, single ? TYPE.f32 : TYPE.f64];
  return new Writer({ single, fuse: false, params, unitBytes: dtype.bytes });
}

const sums = new Map<Dtype, SumSquares>();

/** The sum of a dtype, in the common workspace. */
export function sumSquaresOf(dtype: Dtype): SumSquares {
  return cached(sums, dtype, () => compileSumSquares(dtype, commonWorkspace().memory));
}

/** Compiles the sum; it adds up in the order of the native library. */
function compileSumSquares(dtype: Dtype, memory: WebAssembly.Memory): SumSquares {
  const w = writerOf(dtype);
  const area = { bytes: dtype.bytes, offset: TILES.grad, base: PARAM.from };
  const stream = streamOf(w, area, dtype);
  const factor = w.splat(PARAM.factor);
  const sums = Array.from({ length: LANES / 2 }, () => w.variable());
  const include = (sum: number, value: number) =>
    w.assign(sum, w.binary(add, sum, w.binary(mul, value, value)));
  for (let k = 0; k < (w.single ? 4 : 8); k++) {
    const value = w.mul(stream.load(k), factor); // exact if the factor is 1
    if (!w.single) include(sums[k], value);
    else [false, true].forEach((upper, i) => include(sums[2 * k + i], w.promote(value, upper)));
  }
  const run = instantiate(w.module(LANES, () => total(w, sums)), memory);
  const { bytes } = dtype;
  return (from, to, factor) => run((to - from) * bytes, from * bytes, factor);
}

/** Halves the number of sums, adding those to the others that are half of them away. */
function total(w: Writer, sums: readonly number[]): number[] {
  while (sums.length > 1) {
    const half = sums.length / 2;
    sums = sums.slice(0, half).map((sum, i) => w.binary(add, sum, sums[i + half]));
  }
  const lane = (i: number) => [...op.get(sums[0]), ...simd(extractLane, i)];
  return [...lane(0), ...lane(1), ...op.f64Add()];
}

const multiplications = new Map<Dtype, Multiply>();

/** The multiplication of a dtype, in the common workspace. */
export function multiplyOf(dtype: Dtype): Multiply {
  return cached(multiplications, dtype, () => compileMultiply(dtype, commonWorkspace().memory));
}

function compileMultiply(dtype: Dtype, memory: WebAssembly.Memory): Multiply {
  const w = writerOf(dtype);
  const stream = streamOf(w, { bytes: dtype.bytes, offset: TILES.grad }, dtype);
  const factor = w.splat(PARAM.factor);
  const vectors = dtype.bytes === 2 ? 2 : 1;
  for (let k = 0; k < vectors; k++) stream.store(k, w.mul(stream.load(k), factor));
  const run = instantiate(w.module(VECTOR / dtype.bytes), memory);
  const { bytes } = dtype;
  return (count, factor) => run(count * bytes, 0, factor);
}
