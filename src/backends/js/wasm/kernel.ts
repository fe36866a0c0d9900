/**
 * WebAssembly that applies the rule to a tile of memory, four float32 or two float64 at a time.
 *
 * The loop is written by running the rule over an arithmetic whose values are the locals of a
 * function. `fma` is relaxed SIMD's `madd` where the processor fuses it, which a probe finds out;
 * elsewhere a float32 product is taken in float64, as in JavaScript.
 */

import { FLOAT32 } from "../../../core/dtype.ts";
import type { WideDtype } from "../../../core/dtype.ts";
import { descend, gradient, velocity } from "../../../core/rule.ts";
import type { Arithmetic, Factors, Lines } from "../../../core/rule.ts";
import { assemble, op, simd, TYPE, unsigned } from "./assembler.ts";

/** Elements of a tile: parameter, gradient and buffer of one stay in a second-level cache. */
export const TILE = 8192;

/** Bytes of a vector: what a kernel steps at a time. */
export const VECTOR = 16;

/** Bytes between the tiles of parameter, gradient and buffer, with which a memory begins. */
export const STRIDE = TILE * 8;

/**
 * Applies the rule to the first `count` elements of the tiles, rounded up to a whole vector.
 *
 * @param bufferAt Where the buffer begins in the memory; that of its tile by default.
 */
export type Kernel = (count: number, f: Factors<number>, bufferAt?: number) => void;

const PAGE = 65536;

let available: boolean | undefined;

let fused: boolean | undefined;

const PLAIN: Lines = { decay: false, momentum: "none", nesterov: false, sign: false };

/** Whether this runtime has WebAssembly with SIMD, and lets programs compile it. */
export function isAvailable(): boolean {
  return available ??= canInstantiate();
}

function canInstantiate(): boolean {
  try {
    instantiate(FLOAT32, PLAIN, false, newMemory());
    return true;
  } catch {
    return false; // no WebAssembly, no SIMD, or a content security policy that forbids it
  }
}

/**
 * A memory for kernels: their tiles, and so many bytes more.
 *
 * @throws {RangeError} If there is not so much.
 */
export function newMemory(bytes = 0): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: Math.ceil((3 * STRIDE + bytes) / PAGE) });
}

/** Whether relaxed SIMD is here and fuses, on this processor. */
export function isFused(): boolean {
  return fused ??= probe();
}

/** Compiles the rule for one dtype, one choice of its lines and one memory. */
export function compile(
  dtype: WideDtype,
  lines: Lines,
  memory: WebAssembly.Memory,
  fuse: boolean = isFused(),
): Kernel {
  const run = instantiate(dtype, lines, fuse, memory);
  const { bytes } = dtype;
  return (count, f, bufferAt = 2 * STRIDE) =>
    run(
      ...[count * bytes, bufferAt],
      ...[f.orientation, f.weightDecay, f.momentum, f.blend, f.negativeLr],
    );
}

/** A rounded product is subtracted from the same product: only a fused operation keeps the rest. */
function probe(): boolean {
  const own = newMemory();
  const param = new Float32Array(own.buffer, 0, 1);
  const grad = new Float32Array(own.buffer, STRIDE, 1);
  const factor = 1 + 2 ** -12;
  param[0] = factor;
  grad[0] = -Math.fround(factor * factor);
  try {
    // p <- p - (factor * p + g): the inner fma is exactly 2^-24 if it rounds once, else 0.
    instantiate(FLOAT32, { ...PLAIN, decay: true }, true, own)(4, 0, 1, factor, 0, 0, -(2 ** 24));
  } catch {
    return false; // no relaxed SIMD
  }
  return param[0] !== Math.fround(factor);
}

type Run = (bytes: number, bufferAt: number, ...factors: number[]) => void;

function instantiate(
  dtype: WideDtype,
  lines: Lines,
  fuse: boolean,
  memory: WebAssembly.Memory,
): Run {
  const module = new WebAssembly.Module(emit(dtype, lines, fuse));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return exports.run as Run;
}

/** Parameters of the function: the bytes, the buffer's address, the factors; then the loop's counter. */
const END = 0;

const BUFFER = 1;

const FACTORS = 2;

const COUNTER = 7;

const FIRST_VECTOR = 8;

function emit(dtype: WideDtype, lines: Lines, fuse: boolean): Uint8Array<ArrayBuffer> {
  const writer = new Writer(dtype.name === "float32", fuse);
  const [orientation, weightDecay, momentum, blend, negativeLr] = [0, 1, 2, 3, 4].map((i) =>
    writer.splat(FACTORS + i)
  );
  const f = { orientation, weightDecay, momentum, blend, negativeLr };
  const setup = writer.take();
  const p = writer.load(0);
  const g = gradient(writer, f, lines, p, writer.load(1));
  let b = g;
  if (lines.momentum !== "none") {
    b = velocity(writer, f, lines, g, lines.momentum === "later" ? writer.load(2) : g);
    writer.store(2, b);
  }
  writer.store(0, descend(writer, f, lines, p, g, b));
  const next = [
    ...[...op.get(COUNTER), ...op.i32Const(16), ...op.i32Add(), ...op.set(COUNTER)],
    ...[...op.get(COUNTER), ...op.get(END), ...op.i32LtU(), ...op.repeatIf()],
  ];
  const body = [...setup, ...op.loop(writer.take(), next)];
  const scalar = dtype.name === "float32" ? TYPE.f32 : TYPE.f64;
  return assemble([TYPE.i32, TYPE.i32, ...new Array(5).fill(scalar)], writer.locals, body);
}

/** An arithmetic that writes instructions; its values are the numbers of `v128` locals. */
class Writer implements Arithmetic<number> {
  /** How many locals have been used. */
  locals = 0;
  #code: number[] = [];

  constructor(readonly single: boolean, readonly fuse: boolean) {}

  /** The instructions written since the last call. */
  take(): number[] {
    const code = this.#code;
    this.#code = [];
    return code;
  }

  splat(scalar: number): number {
    return this.#define(op.get(scalar), simd(this.single ? 0x13 : 0x14));
  }

  /** Of the tiles of parameters, gradients and buffers: 0, 1 and 2. */
  load(tile: number): number {
    return this.#define(address(tile), simd(0x00, 4, ...offset(tile)));
  }

  store(tile: number, value: number): void {
    this.#code.push(...address(tile), ...op.get(value), ...simd(0x0b, 4, ...offset(tile)));
  }

  mul(a: number, b: number): number {
    return this.#binary(this.single ? 0xe6 : 0xf2, a, b);
  }

  fma(a: number, b: number, c: number): number {
    if (this.fuse) {
      const operands = [a, b, c].flatMap(op.get);
      return this.#define(operands, simd(this.single ? 0x105 : 0x107));
    }
    return this.single ? this.#fmaInFloat64(a, b, c) : this.#binary(0xf0, this.mul(a, b), c);
  }

  sign(a: number): number {
    const zero = this.#constant(0);
    const one = this.#constant(1);
    const less = this.single ? 0x43 : 0x49;
    const positive = this.#binary(0x4e, this.#binary(less, zero, a), one); // the mask is all ones
    const negative = this.#binary(0x4e, this.#binary(less, a, zero), one);
    return this.#binary(this.single ? 0xe5 : 0xf1, positive, negative);
  }

  /** float32 products are exact in float64: two lanes at a time, then back together. */
  #fmaInFloat64(a: number, b: number, c: number): number {
    const half = (upper: boolean) => {
      const [x, y, z] = [a, b, c].map((value) => this.#promote(value, upper));
      const sum = this.#binary(0xf0, this.#binary(0xf2, x, y), z);
      return this.#define(op.get(sum), simd(0x5e));
    };
    const [low, high] = [half(false), half(true)];
    return this.#define(op.get(low), op.get(high), simd(0x0d, ...bytesOf([0, 1, 4, 5])));
  }

  #promote(value: number, upper: boolean): number {
    const lanes = upper
      ? this.#define(op.get(value), op.get(value), simd(0x0d, ...bytesOf([2, 3, 2, 3])))
      : value;
    return this.#define(op.get(lanes), simd(0x5f));
  }

  #constant(value: number): number {
    const bytes = new Uint8Array(16);
    if (this.single) new Float32Array(bytes.buffer).fill(value);
    else new Float64Array(bytes.buffer).fill(value);
    return this.#define(simd(0x0c, ...bytes));
  }

  #binary(code: number, a: number, b: number): number {
    return this.#define(op.get(a), op.get(b), simd(code));
  }

  #define(...instructions: number[][]): number {
    const local = FIRST_VECTOR + this.locals++;
    this.#code.push(...instructions.flat(), ...op.set(local));
    return local;
  }
}

/** The buffer lies anywhere, the other tiles at their offsets, which are immediate operands. */
const address = (tile: number): number[] =>
  tile === 2 ? [...op.get(COUNTER), ...op.get(BUFFER), ...op.i32Add()] : op.get(COUNTER);

const offset = (tile: number): number[] => unsigned(tile === 2 ? 0 : tile * STRIDE);

/** The bytes of four 32-bit lanes, for a shuffle. */
function bytesOf(lanes: number[]): number[] {
  return lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte));
}
