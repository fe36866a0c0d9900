/** Arrays of bfloat16, which JavaScript does not have. */

import { nearestBits, numberOf } from "./bfloat16_bits.ts";
import { registerBFloat16Array } from "./bfloat16_registry.ts";
import { printAs } from "./printing.ts";
import { cannot, outOfRange, wrongType } from "./validate.ts";

/** The bits of numbers. */
function roundAll(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const length: unknown = (values as ArrayLike<number> | null | undefined)?.length;
  if (typeof length !== "number") {
    throw wrongType("set elements", "the values must be an array of numbers", values);
  }
  const bits = new Uint16Array(length);
  for (let i = 0; i < bits.length; i++) bits[i] = nearestBits(values[i]);
  return bits;
}

/** Reads the name of an array's type, which a class of the user's can hide from other code. */
const { get: typeName } = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint16Array.prototype),
  Symbol.toStringTag,
)!;

/** Whether a value is a `Uint16Array`, of any realm, as a `BFloat16Array` is too. */
function isBits(value: unknown): value is Uint16Array {
  return Reflect.apply(typeName!, value, []) === "Uint16Array";
}

/** Whether a value is memory, of any realm. */
function isBuffer(value: object): boolean {
  const name = Object.prototype.toString.call(value);
  return name === "[object ArrayBuffer]" || name === "[object SharedArrayBuffer]";
}

/** The methods that only read elements, and are not defined below: they read numbers. */
const READERS = [
  ...["entries", "every", "find", "findIndex", "findLast", "findLastIndex", "forEach"] as const,
  ...["includes", "indexOf", "join", "lastIndexOf", "reduce", "reduceRight", "some"] as const,
  "toLocaleString",
] as const;

/**
 * The methods that make a changed copy. They are not in the class, as the types of the language have
 * them only from ES2023 on.
 */
const COPYING = {
  toReversed(this: BFloat16Array) {
    return this.slice().reverse();
  },
  toSorted(this: BFloat16Array, compare?: (a: number, b: number) => number) {
    return this.slice().sort(compare);
  },
  with(this: BFloat16Array, index: number, value: number) {
    const copy = this.slice();
    copy.setNumber(index < 0 ? index + copy.length : index, value);
    return copy;
  },
};

/** A method of arrays that reads numbers. A function that is given to it gets the array itself. */
function readerOf(name: typeof READERS[number]) {
  return function (this: BFloat16Array, first: unknown, ...rest: unknown[]): unknown {
    const numbers = this.toFloat32Array();
    const call = (...given: unknown[]) =>
      Reflect.apply(first as () => unknown, rest[0], [...given.slice(0, -1), this]);
    return Reflect.apply(
      numbers[name] as () => unknown,
      numbers,
      [typeof first === "function" ? call : first, ...rest],
    );
  };
}

/**
 * An array of bfloat16: the upper halves of float32, with 8 bits of precision.
 *
 * It is a `Uint16Array` of their bit patterns. All methods take and give numbers, which are rounded to
 * the nearest bfloat16, ties to even; only indexing, and a `Uint16Array` or `BFloat16Array` as the
 * source of another array, are bits. So `w.get(0)` is a number and `w[0]` is its bit pattern.
 * `structuredClone` and `postMessage` turn an array into a plain `Uint16Array`, of which
 * `new BFloat16Array(bits)` makes one again.
 *
 * @example
 * ```ts
 * import { BFloat16Array, SGD } from "@descent/sgd";
 *
 * const w = { data: BFloat16Array.of(1, 2), grad: new BFloat16Array(2) };
 * w.grad.set([0.5, -0.5]);
 * new SGD([w], { lr: 0.125 }).step();
 * console.log(w.data); // BFloat16Array(2) [ 0.9375, 2.0625 ]
 * console.log(w.data.get(0), w.data[0]); // 0.9375 16240
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
    const define = (name: string | symbol, value: unknown) =>
      Object.defineProperty(this.prototype, name, { value, writable: true, configurable: true });
    for (const name of READERS) define(name, readerOf(name));
    for (const [name, method] of Object.entries(COPYING)) define(name, method);
    for (const name of ["values", Symbol.iterator]) define(name, this.prototype.numbers);
    const name = "BFloat16Array";
    printAs(
      this.prototype,
      name,
      (array, inspect) => inspect(array.toFloat32Array()).replace("Float32Array", name),
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
    if (typeof content === "object" && !isBits(content) && !isBuffer(content)) {
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
   * @param values The numbers; those of a `Uint16Array`, as of a `BFloat16Array`, are bit patterns.
   * @param map Called with each number and its index; what it returns is rounded instead.
   */
  static override from<T = number>(
    values: ArrayLike<T> | Iterable<T>,
    map?: (value: T, index: number) => number,
  ): BFloat16Array<ArrayBuffer> {
    if (isBits(values)) {
      const copy = new BFloat16Array<ArrayBuffer>(values);
      return map === undefined
        ? copy
        : fromList(copy.toFloat32Array() as ArrayLike<unknown> as ArrayLike<T>, map);
    }
    const isList = Array.isArray(values) || ArrayBuffer.isView(values);
    return fromList(isList ? values as ArrayLike<T> : Array.from(values as ArrayLike<T>), map);
  }

  /** Rounds numbers to bfloat16, as `from` does. */
  static override of(...values: number[]): BFloat16Array<ArrayBuffer> {
    return BFloat16Array.from(values);
  }

  /**
   * The number at an index.
   *
   * @throws {TypeError} If the index is not a number.
   * @throws {RangeError} If there is no such element.
   */
  get(index: number): number {
    checkIndex("read", index, this.length);
    return numberOf(this[index]);
  }

  /**
   * Sets the number at an index, rounded to bfloat16.
   *
   * @throws {TypeError} If the index is not a number.
   * @throws {RangeError} If there is no such element.
   */
  setNumber(index: number, value: number): void {
    checkIndex("write", index, this.length);
    this[index] = nearestBits(value);
  }

  /** The numbers, one after another. The array itself iterates over the same. */
  *numbers(): Generator<number, undefined, undefined> {
    for (let i = 0; i < this.length; i++) yield numberOf(this[i]);
  }

  /** The elements as float32, which is exact. */
  toFloat32Array(): Float32Array<ArrayBuffer> {
    const words = new Uint32Array(this.length);
    for (let i = 0; i < words.length; i++) words[i] = this[i] << 16;
    return new Float32Array(words.buffer);
  }

  /** The numbers, as `JSON.stringify` writes those of a `Float32Array`. */
  toJSON(): Float32Array<ArrayBuffer> {
    return this.toFloat32Array();
  }

  /** The number at an index, which counts from the end where it is negative. */
  override at(index: number): number | undefined {
    const bits = super.at(index);
    return bits === undefined ? undefined : numberOf(bits);
  }

  /** Sets all elements, or those of a range, to a number. */
  override fill(value: number, start?: number, end?: number): this {
    return super.fill(nearestBits(value), start, end);
  }

  /**
   * Sets elements, from `offset` on, to numbers, each rounded once.
   *
   * @param values The numbers; those of a `Uint16Array`, as of a `BFloat16Array`, are bit patterns.
   * @throws {TypeError} If they are not a list of numbers: an iterable without a length would set nothing.
   * @throws {RangeError} If they do not fit; no element has changed then.
   */
  override set(values: ArrayLike<number>, offset?: number): void {
    super.set(isBits(values) ? values : roundAll(values), offset);
  }

  /** A new array of what a function makes of each number, rounded. */
  override map(
    make: (value: number, index: number, array: this) => number,
    thisArg?: unknown,
  ): BFloat16Array<ArrayBuffer> {
    return BFloat16Array.from(this, (value, i) => make.call(thisArg, value, i, this));
  }

  /** A new array of the numbers for which a function returns true. */
  override filter(
    isKept: (value: number, index: number, array: this) => unknown,
    thisArg?: unknown,
  ): BFloat16Array<ArrayBuffer> {
    const numbers = this.toFloat32Array();
    return BFloat16Array.from(
      numbers.filter((value, i) => isKept.call(thisArg, value, i, this)),
    );
  }

  /** Sorts the numbers in place: in ascending order, or as a function compares them. */
  override sort(compare?: (a: number, b: number) => number): this {
    this.set(this.toFloat32Array().sort(compare));
    return this;
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

function fromList<T>(
  list: ArrayLike<T>,
  map?: (value: T, index: number) => number,
): BFloat16Array<ArrayBuffer> {
  const array = new BFloat16Array<ArrayBuffer>(list.length);
  for (let i = 0; i < list.length; i++) {
    array[i] = nearestBits(map === undefined ? list[i] as number : map(list[i], i));
  }
  return array;
}

function checkIndex(doing: string, index: number, length: number): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return;
  const what = `${doing} an element`;
  if (typeof index !== "number") throw wrongType(what, "the index must be a number", index);
  throw outOfRange(what, `the index must be a whole number >= 0 and < ${length}`, index);
}
