/** WebAssembly for gradients outside a step: what their norms are made of, and their preparation. */

import type { NormType } from "../../../core/device.ts";
import type { Dtype } from "../../../core/dtype.ts";
import { computeTypeOf } from "../preparation.ts";
import { op, simd, TYPE } from "./assembler.ts";
import { SIMD } from "./instructions.ts";
import { instantiate, TILES } from "./memory.ts";
import { streamOf } from "./streams.ts";
import { cached, commonWorkspace } from "./workspace.ts";
import { VECTOR, Writer } from "./writer.ts";

const { abs, add, max, mul, extractLane } = SIMD.f64x2;

/** Running sums of a block, as in the native library. */
const LANES = 16;

/**
 * Measures the elements of a gradient's tile, from one on to before another one, each multiplied by a
 * factor. Both are multiples of 16.
 */
export type MeasureTile = (from: number, to: number, factor: number) => number;

/** Prepares the first elements of a gradient's tile, rounded up to a whole vector. */
export type PrepareTile = (
  count: number,
  inverseScale: number,
  coefficient: number,
  maxValue: number,
) => void;

/** The parameters of both functions; the last three of `PrepareTile` are numbers. */
const PARAM = { end: 0, from: 1, factor: 2, coefficient: 3, limit: 4 } as const;

function writerOf(dtype: Dtype, numbers: number): Writer {
  const single = computeTypeOf(dtype).name === "float32";
  const number = single ? TYPE.f32 : TYPE.f64;
  const params = [TYPE.i32, TYPE.i32, ...new Array<number>(numbers).fill(number)];
  return new Writer({ single, fuse: false, params, unitBytes: dtype.bytes });
}

const measures = new Map<string, MeasureTile>();

/** What a norm of a tile of gradients is made of, in the common workspace. */
export function measureOf(dtype: Dtype, normType: NormType): MeasureTile {
  const make = () => compileMeasure(dtype, normType, commonWorkspace().memory);
  return cached(measures, `${dtype.name} ${normType}`, make);
}

/** Compiles a measure; it adds up in the order of the native library. */
function compileMeasure(
  dtype: Dtype,
  normType: NormType,
  memory: WebAssembly.Memory,
): MeasureTile {
  const w = writerOf(dtype, 1);
  const area = { bytes: dtype.bytes, offset: TILES.grad, base: PARAM.from };
  const stream = streamOf(w, area, dtype);
  const factor = w.splat(PARAM.factor);
  const lanes = Array.from({ length: LANES / 2 }, () => w.variable());
  const join = normType === Infinity ? max : add;
  const include = (lane: number, value: number) => {
    const own = normType === 2 ? w.binary(mul, value, value) : w.unary(abs, value);
    w.assign(lane, w.binary(join, lane, own));
  };
  for (let k = 0; k < (w.single ? 4 : 8); k++) {
    const value = w.mul(stream.load(k), factor); // exact if the factor is 1
    if (!w.single) include(lanes[k], value);
    else [false, true].forEach((upper, i) => include(lanes[2 * k + i], w.promote(value, upper)));
  }
  const run = instantiate(w.module(LANES, () => total(w, lanes, join)), memory);
  const { bytes } = dtype;
  return (from, to, factor) => run((to - from) * bytes, from * bytes, factor);
}

/** Halves the number of lanes, joining each to the other that is half of them away. */
function total(w: Writer, lanes: readonly number[], join: typeof add | typeof max): number[] {
  while (lanes.length > 1) {
    const half = lanes.length / 2;
    lanes = lanes.slice(0, half).map((lane, i) => w.binary(join, lane, lanes[i + half]));
  }
  const part = (i: number) => [...op.get(lanes[0]), ...simd(extractLane, i)];
  return [...part(0), ...part(1), ...(join === max ? op.f64Max() : op.f64Add())];
}

const preparations = new Map<Dtype, PrepareTile>();

/** The preparation of a tile of gradients, in the common workspace. */
export function prepareOf(dtype: Dtype): PrepareTile {
  return cached(preparations, dtype, () => compilePrepare(dtype, commonWorkspace().memory));
}

function compilePrepare(dtype: Dtype, memory: WebAssembly.Memory): PrepareTile {
  const w = writerOf(dtype, 3);
  const stream = streamOf(w, { bytes: dtype.bytes, offset: TILES.grad }, dtype);
  const [factor, coefficient, limit] = [PARAM.factor, PARAM.coefficient, PARAM.limit]
    .map((param) => w.splat(param));
  const lowest = w.negative(limit);
  const vectors = dtype.bytes === 2 ? 2 : 1;
  for (let k = 0; k < vectors; k++) {
    const value = w.mul(w.mul(stream.load(k), factor), coefficient);
    stream.store(k, w.clamp(value, lowest, limit));
  }
  const run = instantiate(w.module(VECTOR / dtype.bytes), memory);
  const { bytes } = dtype;
  return (count, ...numbers) => run(count * bytes, 0, ...numbers);
}
