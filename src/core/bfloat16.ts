/** Arrays of bfloat16, which JavaScript does not have. */

import { nearestBits } from "./bfloat16_bits.ts";
import { isOfRegisteredClass, registerBFloat16Array } from "./bfloat16_registry.ts";
import { cannot } from "./validate.ts";

/** The kinds of values that a BFloat16Array is made of without rounding. */
const TAKEN = ["Uint16Array", "ArrayBuffer", "SharedArrayBuffer"].map((tag) => `[object ${tag}]`);

/**
 * An array of bfloat16: the upper halves of float32, with 8 bits of precision.
 *
 * It is a `Uint16Array` of their bit patterns, and indexing gives these; `BFloat16Array.from` and
 * `of` make one of numbers, rounded to the nearest, ties to even, and `toFloat32Array` is the way
 * back. `structuredClone` and `postMessage` turn it into a plain `Uint16Array`, of which
 * `new BFloat16Array(bits)` makes one again.
 *
 * @example
 * ```ts
 * import { BFloat16Array, SGD } from "@descent/sgd";
 *
 * const w = { data: BFloat16Array.of(1, 2), grad: BFloat16Array.of(0.5, -0.5) };
 * new SGD([w], { lr: 0.125 }).step();
 * console.log(w.data.toFloat32Array()); // Float32Array(2) [ 0.9375, 2.0625 ]
 * ```
 *
 * @category Parameters
 */
export class BFloat16Array<B extends ArrayBufferLike = ArrayBufferLike> extends Uint16Array<B> {
  readonly #brand = true;

  static {
    registerBFloat16Array(
      this,
      (value) => typeof value === "object" && value !== null && #brand in value,
    );
  }

  /**
   * Makes an array: of so many zeros, of a copy of bit patterns, or on a buffer.
   *
   * @throws {TypeError} If it is given numbers, which `BFloat16Array.from` rounds.
   */
  constructor(length: number);
  /** As above, of a copy of bit patterns. */
  constructor(bits: Uint16Array);
  /** As above, on a buffer, from `byteOffset` on. */
  constructor(buffer: B, byteOffset?: number, length?: number);
  constructor(content: number | Uint16Array | B, byteOffset?: number, length?: number) {
    if (typeof content === "object" && !TAKEN.includes(Object.prototype.toString.call(content))) {
      throw new TypeError(
        cannot(
          "make a BFloat16Array of numbers with new",
          "it takes bit patterns in a Uint16Array",
          "use BFloat16Array.from",
        ),
      );
    }
    super(content as B, byteOffset, length);
  }

  /**
   * Rounds numbers to bfloat16, each once, to the nearest, ties to even.
   *
   * @param values The numbers.
   * @param map Called with each value and its index; what it returns is rounded instead.
   */
  static override from<T = number>(
    values: ArrayLike<T> | Iterable<T>,
    map?: (value: T, index: number) => number,
  ): BFloat16Array<ArrayBuffer> {
    const numbers = isOfRegisteredClass(values)
      ? (values as BFloat16Array).toFloat32Array()
      : values;
    const list = Array.isArray(numbers) || ArrayBuffer.isView(numbers)
      ? numbers as ArrayLike<T>
      : Array.from(numbers as ArrayLike<T>);
    const array = new BFloat16Array<ArrayBuffer>(list.length);
    for (let i = 0; i < list.length; i++) {
      array[i] = nearestBits(map === undefined ? list[i] as number : map(list[i], i));
    }
    return array;
  }

  /** Rounds numbers to bfloat16, as `from` does. */
  static override of(...values: number[]): BFloat16Array<ArrayBuffer> {
    return BFloat16Array.from(values);
  }

  /** The elements as float32, which is exact. */
  toFloat32Array(): Float32Array<ArrayBuffer> {
    const words = new Uint32Array(this.length);
    for (let i = 0; i < words.length; i++) words[i] = this[i] << 16;
    return new Float32Array(words.buffer);
  }

  /** A copy of some elements. */
  override slice(start?: number, end?: number): BFloat16Array<ArrayBuffer> {
    return super.slice(start, end) as BFloat16Array<ArrayBuffer>;
  }

  /** A view of some elements. */
  override subarray(begin?: number, end?: number): BFloat16Array<B> {
    return super.subarray(begin, end) as BFloat16Array<B>;
  }
}
