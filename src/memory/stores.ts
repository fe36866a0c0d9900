/** How the arrays of an optimizer's own are stored: tensors, momentum in 8 bits, and corrections. */

import { lengthIn } from "../core/dtype.ts";
import type { Device, Dtype, ElementType, Tensor } from "../core/dtype.ts";
import { isFixed } from "../core/array_checks.ts";
import { byteLengthOf } from "../core/intrinsics.ts";
import { bytesOf } from "../core/momentum8.ts";

/** An array of the optimizer's own that is not a tensor. */
export type PackedArray = Uint8Array | Int16Array | Int8Array;

/** An array of the optimizer's own. */
export type OwnArray = Tensor | PackedArray;

/** How one kind of array is stored, for parameters of any number of elements. */
export interface Store {
  /** The device of the arrays; those in JavaScript's memory have none. */
  readonly device?: Device;
  /** Bytes for a parameter of so many elements. */
  readonly bytesOf: (length: number) => number;
  /** Zeros, in memory of their own. */
  readonly zeros: (length: number) => OwnArray;
  /** Zeros for several parameters that share memory, where a device can step them faster then. */
  readonly zerosAll?: (lengths: readonly number[]) => Tensor[];
  /** A view of memory of JavaScript's from `offset` bytes on. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => OwnArray;
  /** Whether an array has as many elements as it needs, which it has not once it is detached. */
  readonly fits: (array: OwnArray, length: number) => boolean;
}

/** The store of tensors of a type. */
export function storeOf(type: ElementType): Store {
  return {
    device: type.device,
    bytesOf: (length) => length * type.bytes,
    zeros: type.zeros,
    zerosAll: type.zerosAll,
    view: (type as Dtype).view, // never called for a device
    fits: (array, length) =>
      lengthIn(array as Tensor, type) === length && (length > 0 || isFixed(array as Tensor)),
  };
}

function packedStore(
  size: (length: number) => number,
  zeros: Store["zeros"],
  view: Store["view"],
): Store {
  return {
    ...{ bytesOf: size, zeros, view },
    fits: (array, length) =>
      byteLengthOf(array) === size(length) && (length > 0 || isFixed(array as Tensor)),
  };
}

/** Momentum in 8 bits: values, padding and scales in one block of bytes. */
export const MOMENTUM8: Store = packedStore(
  bytesOf,
  (length) => new Uint8Array(bytesOf(length)),
  (buffer, offset, length) => new Uint8Array(buffer, offset, bytesOf(length)),
);

/** Corrections of 16 bits. */
export const CORRECTION16: Store = packedStore(
  (length) => 2 * length,
  (length) => new Int16Array(length),
  (buffer, offset, length) => new Int16Array(buffer, offset, length),
);

/** Corrections of 8 bits. */
export const CORRECTION8: Store = packedStore(
  (length) => length,
  (length) => new Int8Array(length),
  (buffer, offset, length) => new Int8Array(buffer, offset, length),
);
