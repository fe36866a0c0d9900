/**
 * An arithmetic that writes the instructions of one loop over vectors; its values are the numbers of
 * `v128` locals.
 *
 * `fma` is relaxed SIMD's `madd` where the processor fuses it; elsewhere a float32 product is taken in
 * float64 and the sum is rounded once, as in JavaScript.
 */

import type { Arithmetic } from "../../../core/rule.ts";
import { assemble, op, simd, TYPE, unsigned } from "./assembler.ts";
import type { Bytes } from "./assembler.ts";
import { SIMD } from "./instructions.ts";

/** Bytes of a vector. */
export const VECTOR = 16;

/** Where an array lies in memory; its vectors are at the loop's counter and after it. */
export interface Area {
  /** Bytes of an element. */
  readonly bytes: number;
  /** Bytes from the beginning of the memory, or from `base` on. */
  readonly offset: number;
  /** The parameter of the function that has its address. */
  readonly base?: number;
}

/** What a loop is written with. */
export interface WriterOptions {
  /** Whether values are float32; else float64. */
  readonly single: boolean;
  /** Whether `madd` rounds once. */
  readonly fuse: boolean;
  /** The types of the function's parameters, of which the first says where the counter ends. */
  readonly params: Bytes;
  /** What the counter counts: units of so many bytes, the size of the smallest element. */
  readonly unitBytes: number;
}

/** Writes one loop. */
export class Writer implements Arithmetic<number> {
  readonly single: boolean;
  readonly #options: WriterOptions;
  /** The number of the loop's counter, an `i32` local, which the vectors follow. */
  readonly #counter: number;
  #locals = 0;
  #code: number[] = [];
  /** Constants and other values that the loop does not change, in front of it. */
  #setup: number[] = [];
  readonly #constants = new Map<string, number>();

  constructor(options: WriterOptions) {
    this.#options = options;
    this.single = options.single;
    this.#counter = options.params.length;
  }

  /**
   * The module, whose loop takes so many elements at a time.
   *
   * @param finish Writes what follows the loop, and leaves a float64 as the result.
   */
  module(elements: number, finish?: () => Bytes): Uint8Array<ArrayBuffer> {
    const { params, unitBytes } = this.#options;
    const [counter, end] = [this.#counter, 0];
    const next = [
      ...[...op.get(counter), ...op.i32Const(elements * unitBytes), ...op.i32Add()],
      ...[...op.set(counter), ...op.get(counter), ...op.get(end), ...op.i32LtU()],
      ...op.repeatIf(),
    ];
    const loop = op.loop(this.#code, next);
    this.#code = [];
    const result = finish?.() ?? [];
    const body = [...this.#setup, ...loop, ...this.#code, ...result];
    const results = finish === undefined ? [] : [TYPE.f64];
    return assemble({ params, results, locals: this.#locals, body });
  }

  /** A parameter of the function in all lanes. */
  splat(param: number): number {
    const code = this.single ? SIMD.f32x4.splat : SIMD.f64x2.splat;
    return this.#before(op.get(param), simd(code));
  }

  /** A parameter of the function, of 32 bits, in all lanes. */
  splatWord(param: number): number {
    return this.#before(op.get(param), simd(SIMD.i32x4.splat));
  }

  /** A number in all lanes. */
  number(value: number): number {
    const bytes = new Uint8Array(VECTOR);
    if (this.single) new Float32Array(bytes.buffer).fill(value);
    else new Float64Array(bytes.buffer).fill(value);
    return this.#constant(bytes);
  }

  /** Words of 32 bits: one in all lanes, or one for each lane. */
  words(...words: number[]): number {
    const lanes = Int32Array.from({ length: 4 }, (_, i) => words[i % words.length]);
    return this.#constant(new Uint8Array(lanes.buffer));
  }

  /** A word of 16 bits in all lanes. */
  halfWords(word: number): number {
    return this.#constant(new Uint8Array(new Int16Array(8).fill(word).buffer));
  }

  /** The vector that begins so many elements after the counter's. */
  load(area: Area, element: number): number {
    return this.define(this.#address(area), simd(0x00, 0, ...this.#immediate(area, element)));
  }

  /** Eight bytes of an array; the rest of the vector is zeros. */
  loadHalf(area: Area, element: number): number {
    return this.define(this.#address(area), simd(0x5d, 0, ...this.#immediate(area, element)));
  }

  store(area: Area, element: number, value: number): void {
    const immediate = this.#immediate(area, element);
    this.#code.push(...this.#address(area), ...op.get(value), ...simd(0x0b, 0, ...immediate));
  }

  /** Stores the first eight bytes of a vector. */
  storeHalf(area: Area, element: number, value: number): void {
    const immediate = this.#immediate(area, element);
    this.#code.push(...this.#address(area), ...op.get(value), ...simd(0x5b, 0, ...immediate, 0));
  }

  /** One byte, of an array that has one for each block of 32 elements, in all lanes. */
  loadBlockByte(area: Area): number {
    return this.define(this.#blockAddress(area), op.i32Load8(area.offset), simd(SIMD.i32x4.splat));
  }

  /** Stores the first byte of a vector in such an array. */
  storeBlockByte(area: Area, value: number): void {
    const immediate = unsigned(area.offset);
    this.#code.push(
      ...this.#blockAddress(area),
      ...op.get(value),
      ...simd(0x58, 0, ...immediate, 0),
    );
  }

  /** The number of the counter's block in all lanes. */
  block(): number {
    return this.define(this.#blockIndex(), simd(SIMD.i32x4.splat));
  }

  mul(a: number, b: number): number {
    return this.binary(this.single ? SIMD.f32x4.mul : SIMD.f64x2.mul, a, b);
  }

  fma(a: number, b: number, c: number): number {
    if (this.#options.fuse) {
      const operands = [a, b, c].flatMap(op.get);
      return this.define(operands, simd(this.single ? SIMD.f32x4.madd : SIMD.f64x2.madd));
    }
    return this.single
      ? this.#fmaInFloat64(a, b, c)
      : this.binary(SIMD.f64x2.add, this.mul(a, b), c);
  }

  sign(a: number): number {
    const zero = this.number(0);
    const one = this.number(1);
    const { lt, sub } = this.single ? SIMD.f32x4 : SIMD.f64x2;
    const positive = this.binary(SIMD.and, this.binary(lt, zero, a), one); // the mask is all ones
    const negative = this.binary(SIMD.and, this.binary(lt, a, zero), one);
    return this.binary(sub, positive, negative);
  }

  /** Clamps to `low..high`; NaN stays. */
  clamp(value: number, low: number, high: number): number {
    const { pseudoMin, pseudoMax } = this.single ? SIMD.f32x4 : SIMD.f64x2;
    // A pseudo-minimum is its first operand unless the second one is smaller.
    return this.binary(pseudoMax, this.binary(pseudoMin, value, high), low);
  }

  /** The negative of a value that the loop does not change. */
  negative(value: number): number {
    return this.#before(op.get(value), simd(this.single ? SIMD.f32x4.neg : SIMD.f64x2.neg));
  }

  /** float32 products are exact in float64: two lanes at a time, then back together. */
  #fmaInFloat64(a: number, b: number, c: number): number {
    const half = (upper: boolean) => {
      const [x, y, z] = [a, b, c].map((value) => this.promote(value, upper));
      return this.unary(SIMD.f32x4.demote, this.#addToOdd(this.binary(SIMD.f64x2.mul, x, y), z));
    };
    const [low, high] = [half(false), half(true)];
    return this.shuffle(low, high, [0, 1, 4, 5]);
  }

  /**
   * A sum of float64 which, unless it is exact, is the one of its two neighbors whose last bit is set.
   * Rounded to float32 it gives what the exact sum does, as it is never halfway between two of those.
   */
  #addToOdd(a: number, b: number): number {
    const [{ add, sub, lt }, { eq, shrS, add: addWords }] = [SIMD.f64x2, SIMD.i64x2];
    const sum = this.binary(add, a, b);
    const rest = this.binary(sub, sum, a);
    const restOfA = this.binary(sub, a, this.binary(sub, sum, rest));
    const error = this.binary(add, restOfA, this.binary(sub, b, rest));
    const [zero, one] = [this.words(0), this.words(1, 0)];
    const isInexact = this.binary( // not where it is NaN
      SIMD.or,
      this.binary(lt, error, zero),
      this.binary(lt, zero, error),
    );
    const isEven = this.binary(eq, this.binary(SIMD.and, sum, one), zero);
    const signs = this.shift(shrS, this.binary(SIMD.xor, sum, error), 63);
    const toNeighbor = this.binary(SIMD.or, signs, one); // away from zero: 1, towards it: -1
    const moves = this.binary(SIMD.and, this.binary(SIMD.and, isInexact, isEven), toNeighbor);
    return this.binary(addWords, sum, moves);
  }

  /** Two lanes of float32 as float64: the lower or the upper two. */
  promote(value: number, upper: boolean): number {
    const lanes = upper ? this.shuffle(value, value, [2, 3, 2, 3]) : value;
    return this.unary(SIMD.f64x2.promoteLow, lanes);
  }

  /** Lanes of 32 bits, of two vectors: 0 to 3 of the first one, 4 to 7 of the second. */
  shuffle(a: number, b: number, lanes: readonly number[]): number {
    const bytes = lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte));
    return this.define(op.get(a), op.get(b), simd(0x0d, ...bytes));
  }

  /** The bits of `a` where those of the mask are set, else those of `b`. */
  select(mask: number, a: number, b: number): number {
    return this.define([a, b, mask].flatMap(op.get), simd(0x52));
  }

  unary(code: number, a: number): number {
    return this.define(op.get(a), simd(code));
  }

  binary(code: number, a: number, b: number): number {
    return this.define(op.get(a), op.get(b), simd(code));
  }

  shift(code: number, a: number, bits: number): number {
    return this.define(op.get(a), op.i32Const(bits), simd(code));
  }

  /** Puts a value into a local that has one. */
  assign(local: number, value: number): void {
    this.#code.push(...op.get(value), ...op.set(local));
  }

  /** A local that is zero in front of the loop and keeps its value from one round to the next. */
  variable(): number {
    return this.#newLocal();
  }

  define(...instructions: number[][]): number {
    const local = this.#newLocal();
    this.#code.push(...instructions.flat(), ...op.set(local));
    return local;
  }

  #before(...instructions: number[][]): number {
    const local = this.#newLocal();
    this.#setup.push(...instructions.flat(), ...op.set(local));
    return local;
  }

  #constant(bytes: Uint8Array): number {
    const key = bytes.toString();
    const found = this.#constants.get(key) ?? this.#before(simd(0x0c, ...bytes));
    this.#constants.set(key, found);
    return found;
  }

  #newLocal(): number {
    return this.#counter + 1 + this.#locals++;
  }

  #address({ bytes, base }: Area): number[] {
    const shift = Math.log2(bytes / this.#options.unitBytes);
    return [
      ...op.get(this.#counter),
      ...(shift === 0 ? [] : [...op.i32Const(shift), ...op.i32ShiftLeft()]),
      ...(base === undefined ? [] : [...op.get(base), ...op.i32Add()]),
    ];
  }

  #immediate({ bytes, offset }: Area, element: number): number[] {
    return unsigned(offset + element * bytes);
  }

  #blockIndex(): number[] {
    const shift = Math.log2(32 * this.#options.unitBytes);
    return [...op.get(this.#counter), ...op.i32Const(shift), ...op.i32ShiftRight()];
  }

  #blockAddress({ base }: Area): number[] {
    return [...this.#blockIndex(), ...op.get(base!), ...op.i32Add()];
  }
}
