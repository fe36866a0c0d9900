/**
 * Typed arrays and buffers as the language defines them.
 *
 * An array's own properties, its class or a changed prototype can report a false length or place, and
 * a different one at each call. The getters and methods here were taken from the prototypes when this
 * module was loaded, and read the array itself. Every address, and every number of elements behind
 * one, has to come from here.
 */

import { bfloat16ArrayClass } from "./bfloat16_class.ts";
import type { HostArray } from "./host_array.ts";

const arrays = Object.getPrototypeOf(Float32Array.prototype) as object;

/**
 * A method or getter as a function of its object. It is called directly, because `method.call` would
 * be looked up at each call, and could be another function by then.
 */
function unbound<F>(method: unknown): F {
  return Function.prototype.call.bind(method as () => unknown) as F;
}

/** A getter of a prototype; one that this runtime does not have gives undefined. */
function getter<T>(prototype: object, name: string | symbol): (object: unknown) => T {
  const get = Object.getOwnPropertyDescriptor(prototype, name)?.get;
  return get === undefined ? () => undefined as T : unbound(get);
}

/** The name of a typed array's type; undefined for all other values. */
export const tagOf: (value: unknown) => string | undefined = getter(arrays, Symbol.toStringTag);

/** The number of elements; 0 once the buffer is detached. */
export const lengthOf: (array: unknown) => number = getter(arrays, "length");

/** The number of bytes. */
export const byteLengthOf: (array: unknown) => number = getter(arrays, "byteLength");

/** The bytes before the first element; 0 once the buffer is detached. */
export const byteOffsetOf: (array: unknown) => number = getter(arrays, "byteOffset");

/** The buffer. Reading it moves the elements of a small array to their final place. */
export const bufferOf: (array: unknown) => ArrayBufferLike = getter(arrays, "buffer");

/** Copies elements into an array, from `at` on; those of a `BFloat16Array` are bits. Neither is overridden. */
export const setAll: (to: HostArray, from: ArrayLike<number>, at?: number) => void = unbound(
  (arrays as Float32Array).set,
);

/** Fills an array, or a part of it; the elements of a `BFloat16Array` are bits. */
export const fillAll: (array: HostArray, value: number, from?: number, to?: number) => void =
  unbound(
    (arrays as Float32Array).fill,
  );

const isDetached = getter<boolean | undefined>(ArrayBuffer.prototype, "detached");

const isResizable = getter<boolean | undefined>(ArrayBuffer.prototype, "resizable");

const maxByteLengthOf = getter<number>(ArrayBuffer.prototype, "maxByteLength");

/**
 * The class is undefined in a page that is not isolated, which still has shared memories of
 * WebAssembly.
 */
const shared = typeof SharedArrayBuffer === "undefined" ? {} : SharedArrayBuffer.prototype;

const isGrowable = getter<boolean | undefined>(shared, "growable");

const maxSharedLengthOf = getter<number>(shared, "maxByteLength");

const byteLengthOfBuffer = getter<number>(ArrayBuffer.prototype, "byteLength");

const sharedByteLengthOf = getter<number | undefined>(shared, "byteLength");

/** Whether a buffer is a `SharedArrayBuffer`, whose memory nothing can take away. */
export function isShared(buffer: ArrayBufferLike): boolean {
  try {
    return sharedByteLengthOf(buffer) !== undefined;
  } catch {
    return false; // it is of the other class
  }
}

/** The number of bytes of a buffer; 0 once it is detached. */
export function sizeOfBuffer(buffer: ArrayBufferLike): number {
  return stateOfBuffer(buffer).detached ? 0 : lengthOf(new Uint8Array(buffer));
}

/** What can happen to the memory of a buffer. */
export interface BufferState {
  /** Whether the memory has been transferred. */
  readonly detached: boolean;
  /** The most bytes that it can be resized to; null if its size is fixed. */
  readonly resizableTo: number | null;
}

const FIXED: BufferState = Object.freeze({ detached: false, resizableTo: null });

/** What can happen to the memory of a buffer. */
export function stateOfBuffer(buffer: ArrayBufferLike): BufferState {
  // The class only decides which getters are tried first: those of the other class throw.
  const kinds = Object.getPrototypeOf(buffer) === shared
    ? [stateOfShared, stateOfUnshared]
    : [stateOfUnshared, stateOfShared];
  try {
    return kinds[0](buffer);
  } catch {
    return kinds[1](buffer);
  }
}

function stateOfUnshared(buffer: ArrayBufferLike): BufferState {
  const bytes = byteLengthOfBuffer(buffer); // throws for shared memory, on every runtime
  if (isDetached(buffer) ?? (bytes === 0 && isGone(buffer))) {
    return { detached: true, resizableTo: null };
  }
  return isResizable(buffer) ? { detached: false, resizableTo: maxByteLengthOf(buffer) } : FIXED;
}

function stateOfShared(buffer: ArrayBufferLike): BufferState {
  return isGrowable(buffer) ? { detached: false, resizableTo: maxSharedLengthOf(buffer) } : FIXED;
}

/** Finds out without a getter: no array can be made on a buffer that is detached. */
function isGone(buffer: ArrayBufferLike): boolean {
  try {
    return new Uint8Array(buffer).length < 0;
  } catch {
    return true;
  }
}

/** The elements `from <= i < to` of an array as a view without a class of the user's. */
export function part<T extends HostArray>(array: T, from: number, to: number): T;

export function part(array: HostArray, from: number, to: number): HostArray {
  const length = lengthOf(array);
  const [first, end] = [Math.min(from, length), Math.min(to, length)];
  return viewOf(array, bufferOf(array), byteOffsetOf(array), first, end - first);
}

/** A copy of an array, without a class of the user's. */
export function copyOf<T extends HostArray>(array: T): T;

export function copyOf(array: HostArray): HostArray {
  const bytes = new ArrayBuffer(byteLengthOf(array));
  const copy = viewOf(array, bytes, 0, 0, lengthOf(array));
  setAll(copy, array);
  return copy;
}

/** A view of elements of an array's type. */
function viewOf(
  array: HostArray,
  buffer: ArrayBufferLike,
  offset: number,
  first: number,
  length: number,
): HostArray {
  switch (tagOf(array)) {
    case "Float32Array":
      return new Float32Array(buffer, offset + 4 * first, length);
    case "Float64Array":
      return new Float64Array(buffer, offset + 8 * first, length);
    case "Float16Array":
      return new Float16Array(buffer, offset + 2 * first, length);
    default:
      return new (bfloat16ArrayClass())(buffer, offset + 2 * first, length);
  }
}
