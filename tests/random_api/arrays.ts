/** Arrays in all kinds of memory, each between canaries, and a look at them that cannot be fooled. */

import { BFloat16Array } from "@descent/sgd";
import type { HostArray } from "@descent/sgd";
import type { Random } from "./random.ts";

/** A dtype, as arrays of it are made here. */
export interface Kind {
  readonly name: "float32" | "float64" | "float16" | "bfloat16";
  readonly bytes: number;
  readonly weight: number;
  readonly on: (buffer: ArrayBufferLike, offset: number, length: number) => HostArray;
  /** An array with memory of its own; short ones lie where V8 may move them. */
  readonly own: (length: number) => HostArray;
}

/** The dtypes, and how often they are taken. */
export const KINDS: readonly Kind[] = [
  {
    ...{ name: "float32", bytes: 4, weight: 5 },
    on: (buffer, offset, length) => new Float32Array(buffer, offset, length),
    own: (length) => new Float32Array(length),
  },
  {
    ...{ name: "float64", bytes: 8, weight: 3 },
    on: (buffer, offset, length) => new Float64Array(buffer, offset, length),
    own: (length) => new Float64Array(length),
  },
  {
    ...{ name: "float16", bytes: 2, weight: 1 },
    on: (buffer, offset, length) => new Float16Array(buffer, offset, length),
    own: (length) => new Float16Array(length),
  },
  {
    ...{ name: "bfloat16", bytes: 2, weight: 1 },
    on: (buffer, offset, length) => new BFloat16Array(buffer, offset, length),
    own: (length) => new BFloat16Array(length),
  },
];

const LENGTHS = [
  { weight: 2, from: 0, to: 0 },
  { weight: 10, from: 1, to: 9 },
  { weight: 5, from: 10, to: 40 },
  { weight: 8, from: 60, to: 70 },
  { weight: 4, from: 100, to: 300 },
  { weight: 0.3, from: 5_000, to: 40_000 },
];

/** Where memory is taken from, and how often. */
const PLACES = [
  { place: "own", weight: 8 },
  { place: "buffer", weight: 6 },
  { place: "shared", weight: 2 },
  { place: "wasm", weight: 0.2 },
] as const;

const CANARY = 0xa7;

/** An array between canaries. */
interface Guarded {
  /** Its buffer; null for an array with memory of its own. */
  readonly whole: ArrayBufferLike | null;
  readonly array: HostArray;
  readonly kind: Kind;
  readonly offset: number;
  readonly length: number;
}

const prototype = Object.getPrototypeOf(Uint8Array.prototype);
const getter = (name: string) => Object.getOwnPropertyDescriptor(prototype, name)!.get!;
const [lengthOf, bufferOf, byteOffsetOf] = ["length", "buffer", "byteOffset"].map(getter);
const tagOf = Object.getOwnPropertyDescriptor(prototype, Symbol.toStringTag)!.get!;

/** Whether it is a typed array, whatever it says of itself. */
export const isArray = (value: unknown): value is HostArray =>
  ArrayBuffer.isView(value) && !(value instanceof DataView);

/** The number of elements, whatever the array's own properties say. */
export const trueLength = (array: unknown): number => lengthOf.call(array);

/** The buffer, whatever the array's own properties say. */
export const trueBuffer = (array: unknown): ArrayBuffer => bufferOf.call(array);

/** The values, whatever the array's own properties say. */
export function valuesOf(array: unknown): ArrayLike<number> {
  const view = array as HostArray;
  const values = Float64Array.from({ length: trueLength(view) }, (_, i) => view[i]);
  return isBFloat16(view) ? new BFloat16Array(Uint16Array.from(values)).toFloat32Array() : values;
}

/** What an array is, such as `float16array`; the tag is the language's own. */
export const typeOf = (array: object): string =>
  isBFloat16(array as HostArray) ? "bfloat16array" : String(tagOf.call(array)).toLowerCase();

function isBFloat16(array: HostArray): boolean {
  return array instanceof BFloat16Array;
}

/** Where the elements begin, whatever the array's own properties say. */
export const trueOffset = (array: unknown): number => byteOffsetOf.call(array);

/** A view that an honest array of the same elements would be. */
export function honest(array: unknown, kind: Kind): HostArray {
  return kind.on(trueBuffer(array), trueOffset(array), trueLength(array));
}

/** The number of elements of a tensor. */
export function someLength(random: Random): number {
  const { from, to } = random.weighted(LENGTHS);
  return random.int(from, to);
}

/** All arrays of one backend's half of a case, in the order in which they were made. */
export class Memory {
  /** Whether values are such that every backend has the same bits. */
  readonly exact: boolean;
  /** Whether the world is being looked at: hostile code does nothing then. */
  looking = false;
  /** The kinds of hostility that were made, to find the reason of a failure. */
  readonly hostile: string[] = [];
  readonly #all: Guarded[] = [];

  constructor(exact: boolean) {
    this.exact = exact;
  }

  /** An array with random values. */
  make(random: Random, kind: Kind, length: number, scale = 1): HostArray {
    const array = this.#allocate(random, kind, length);
    this.fill(random, kind, array, scale);
    return array;
  }

  /** New random values for an array. */
  fill(random: Random, kind: Kind, array: HostArray, scale = 1): void {
    const special = random.chance(0.03);
    const values = Float64Array.from(
      { length: trueLength(array) },
      () => scale * someValue(random, special),
    );
    if (kind.name !== "bfloat16") array.set(values);
    else array.set(BFloat16Array.from(values) as Uint16Array);
  }

  /** Keeps an array in sight that was made elsewhere. */
  watch(array: HostArray, kind: Kind): void {
    this.#all.push({ ...{ whole: null, array, kind }, offset: 0, length: array.length });
  }

  /** The values of all arrays that were made. */
  contents(): { readonly name: string; readonly values: ArrayLike<number> }[] {
    return this.#all.map(({ array, kind, length }, i) => {
      const values = valuesOf(array);
      return { name: `array ${i}, ${length} of ${kind.name}`, values };
    });
  }

  /** Throws if a canary is not as it was. */
  checkCanaries(): void {
    for (const [i, { whole, offset, kind, length }] of this.#all.entries()) {
      if (whole === null || whole.byteLength === 0) continue; // it was transferred
      const bytes = new Uint8Array(whole);
      const end = offset + length * kind.bytes;
      for (let at = 0; at < Math.min(bytes.length, end + 64); at++) {
        if (at === offset) at = end;
        if (at < bytes.length && bytes[at] !== CANARY) {
          throw new Error(
            `byte ${at - offset} of array ${i}, ${length} of ${kind.name}, is written`,
          );
        }
      }
    }
  }

  #allocate(random: Random, kind: Kind, length: number): HostArray {
    const { place } = random.weighted(PLACES);
    if (place === "own") {
      const array = kind.own(length);
      this.#all.push({ whole: null, array, kind, offset: 0, length });
      return array;
    }
    const offset = kind.bytes * random.int(8, 24);
    const whole = bufferFor(place, offset + length * kind.bytes + 64);
    new Uint8Array(whole).fill(CANARY);
    const array = kind.on(whole, offset, length);
    array.fill(0);
    this.#all.push({ whole, array, kind, offset, length });
    return array;
  }
}

function bufferFor(place: "buffer" | "shared" | "wasm", bytes: number): ArrayBufferLike {
  if (place === "buffer") return new ArrayBuffer(bytes);
  if (place === "shared") return new SharedArrayBuffer(bytes);
  return new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) }).buffer;
}

/** Of few bits, so that sums stay in range; some are zeros. Special ones are not finite. */
function someValue(random: Random, special: boolean): number {
  if (special && random.chance(0.1)) return random.pick([NaN, Infinity, -Infinity, -0, 1e30]);
  if (random.chance(0.05)) return 0;
  return (random.float() * 2 - 1) * 2 ** random.int(-3, 2);
}
