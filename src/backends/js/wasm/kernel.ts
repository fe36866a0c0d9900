/**
 * WebAssembly that applies the rule to a tile of memory, four float32 or two float64 at a time.
 *
 * The loop is written by running the rule over an arithmetic whose values are the locals of a
 * function. Gradients are prepared, and elements of other formats converted, in the same loop.
 */

import { isSixteenBit } from "../../../core/dtype.ts";
import type { Dtype, WideDtype } from "../../../core/dtype.ts";
import { BLOCK } from "../../../core/momentum8.ts";
import { descend, gradient, shrink, velocity } from "../../../core/rule.ts";
import type { Factors, Lines } from "../../../core/rule.ts";
import { computeTypeOf } from "../preparation.ts";
import type { Preparation } from "../preparation.ts";
import { TYPE } from "./assembler.ts";
import { SIMD } from "./instructions.ts";
import { instantiate, isFused, SCALES_TILE, TILES } from "./memory.ts";
import { randomBits } from "./momentum8.ts";
import type { Random } from "./momentum8.ts";
import { Momentum8, routed, SplitMaster, streamOf } from "./streams.ts";
import type { Stream } from "./streams.ts";
import { VECTOR, Writer } from "./writer.ts";
import type { Area } from "./writer.ts";

/** What the arrays of a parameter are, and what is done to them. */
export interface Format {
  /** The type of the parameter. */
  readonly dtype: Dtype;
  /** The type of its gradient. */
  readonly gradType: Dtype;
  /** Whether momentum is in 8 bits; else it is of the type that is computed with. */
  readonly momentum8: boolean;
  /** What is kept of a parameter in a 16-bit type beside it. */
  readonly master: "none" | "float32" | "split" | "split24";
  /** Whether the parameter is left as it was: the new one is only in the place of the master. */
  readonly unrounded: boolean;
  /** Whether gradients are prepared. */
  readonly prepared: boolean;
  readonly lines: Lines;
}

/** A parameter, a gradient and momentum of one type, and nothing but the rule. */
export function plainFormat(dtype: WideDtype, lines: Lines): Format {
  const none = { momentum8: false, master: "none", unrounded: false, prepared: false } as const;
  return { dtype, gradType: dtype, ...none, lines };
}

/** A text that differs where formats do. */
export function keyOf({ dtype, gradType, lines, ...format }: Format): string {
  const { decay, momentum, nesterov, sign } = lines;
  const { momentum8, master, unrounded, prepared } = format;
  return [
    ...[dtype.name, gradType.name, momentum8, master, unrounded, prepared],
    ...[decay, momentum, nesterov, sign],
  ].join(" ");
}

/** Elements that a kernel steps at a time. */
export function unitOf({ dtype, gradType, momentum8, master }: Format): number {
  if (momentum8 || master === "split24") return BLOCK;
  return isSixteenBit(dtype) || isSixteenBit(gradType) ? VECTOR / 2 : VECTOR / dtype.bytes;
}

/** Bytes of an element of the master weight's own. */
export function masterBytesOf({ master }: Format): number {
  return master === "split" ? 2 : master === "split24" ? 1 : 4;
}

/** Where the arrays of a tile are that have no fixed place, and which block of its tensor is first. */
export interface Places {
  buffer: number;
  scales: number;
  master: number;
  block: number;
}

/** The places of a tile whose arrays are all copied. */
export const copiedPlaces = (block = 0): Places => ({
  ...{ buffer: TILES.buffer, scales: SCALES_TILE, master: TILES.master },
  block,
});

/** The numbers that a kernel computes with. */
export interface Numbers {
  readonly factors: Factors<number>;
  readonly preparation: Preparation | null;
  /** What random bits depend on. */
  readonly key: number;
}

/** Applies the rule to the first `count` elements of the tiles, rounded up to a whole unit. */
export type Kernel = (count: number, numbers: Numbers, places: Places) => void;

/** Compiles the rule for one format and one memory. */
export function compile(
  format: Format,
  memory: WebAssembly.Memory,
  fuse: boolean = isFused(),
): Kernel {
  const run = instantiate(emit(format, fuse), memory);
  const unitBytes = unitBytesOf(format);
  return (count, { factors: f, preparation: p, key }, { buffer, scales, master, block }) => {
    run(
      ...[count * unitBytes, buffer, scales, master, block, key],
      ...[f.orientation, f.weightDecay, f.shrink, f.momentum, f.blend, f.negativeLr],
      ...[p?.inverseScale ?? 1, p?.coefficient ?? 1, p?.maxValue ?? Infinity],
    );
  };
}

/** The parameters of the function. */
const PARAM = {
  ...{ end: 0, buffer: 1, scales: 2, master: 3, block: 4, key: 5 },
  ...{ factors: 6, preparation: 12, count: 15 },
} as const;

/** What the key of momentum in 8 bits and that of 8-bit corrections differ by. */
const OTHER_KEY = 0x7f4a7c15;

/** Bytes of the smallest element, by which addresses are counted. */
function unitBytesOf(format: Format): number {
  const { dtype, gradType, momentum8, master } = format;
  if (momentum8 || master === "split24") return 1;
  return Math.min(dtype.bytes, gradType.bytes);
}

function emit(format: Format, fuse: boolean): Uint8Array<ArrayBuffer> {
  const { dtype, lines } = format;
  const single = computeTypeOf(dtype).name === "float32";
  const scalar = single ? TYPE.f32 : TYPE.f64;
  const params = [
    ...new Array(PARAM.factors).fill(TYPE.i32),
    ...new Array(PARAM.count - PARAM.factors).fill(scalar),
  ];
  const w = new Writer({ single, fuse, params, unitBytes: unitBytesOf(format) });
  const f = factorsIn(w);
  const { param, grad, buffer } = streamsOf(w, format);
  const unit = unitOf(format);
  for (let k = 0; k < unit / (single ? 4 : 2); k++) {
    const p = shrink(w, f, lines, param.load(k));
    const g = gradient(w, f, lines, p, grad(k));
    let b = g;
    if (lines.momentum !== "none") {
      b = velocity(w, f, lines, g, lines.momentum === "later" ? buffer.load(k) : g);
      buffer.store(k, b);
    }
    param.store(k, descend(w, f, lines, p, g, b));
  }
  return w.module(unit);
}

/** The factors, each in all lanes. */
function factorsIn(w: Writer): Factors<number> {
  const [orientation, weightDecay, shrink, momentum, blend, negativeLr] = [0, 1, 2, 3, 4, 5]
    .map((i) => w.splat(PARAM.factors + i));
  return { orientation, weightDecay, shrink, momentum, blend, negativeLr };
}

interface Streams {
  readonly param: Stream;
  readonly buffer: Stream;
  /** Loads a vector of gradients and prepares them. */
  readonly grad: (vector: number) => number;
}

function streamsOf(w: Writer, format: Format): Streams {
  const { gradType, prepared } = format;
  const unprepared = streamOf(w, { bytes: gradType.bytes, offset: TILES.grad }, gradType);
  const prepare = prepared ? preparationOf(w) : (value: number) => value;
  const randomFrom = (key: number) => randomBits(w, key, w.splatWord(PARAM.block));
  return {
    grad: (vector) => prepare(unprepared.load(vector)),
    param: parameterOf(w, format, () => randomFrom(otherKey(w))),
    buffer: bufferOf(w, format, () => randomFrom(w.splatWord(PARAM.key))),
  };
}

const otherKey = (w: Writer) =>
  w.binary(SIMD.i32x4.add, w.splatWord(PARAM.key), w.words(OTHER_KEY));

function parameterOf(w: Writer, format: Format, random: () => Random): Stream {
  const { dtype, master, unrounded } = format;
  const area: Area = { bytes: dtype.bytes, offset: TILES.param };
  const own: Area = { bytes: masterBytesOf(format), offset: 0, base: PARAM.master };
  if (master === "split" || master === "split24") {
    const bits = master === "split24" ? random() : null;
    return new SplitMaster(w, { params: area, corrections: own }, bits);
  }
  const param = streamOf(w, area, dtype);
  if (master === "none" && !unrounded) return param;
  const wide = streamOf(w, own, computeTypeOf(dtype));
  return routed(master === "none" ? param : wide, wide, ...(unrounded ? [] : [param]));
}

function bufferOf(w: Writer, { dtype, momentum8 }: Format, random: () => Random): Stream {
  const type = computeTypeOf(dtype);
  if (!momentum8) return streamOf(w, { bytes: type.bytes, offset: 0, base: PARAM.buffer }, type);
  const values = { bytes: 1, offset: 0, base: PARAM.buffer };
  return new Momentum8(w, values, { ...values, base: PARAM.scales }, random());
}

function preparationOf(w: Writer): (value: number) => number {
  const [scale, coefficient, high] = [0, 1, 2].map((i) => w.splat(PARAM.preparation + i));
  const low = w.negative(high);
  return (value) => w.clamp(w.mul(w.mul(value, scale), coefficient), low, high);
}
