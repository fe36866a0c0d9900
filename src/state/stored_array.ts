/** The arrays of state dicts: those that parameters have, and those whose elements are codes. */

import { BFloat16Array } from "../core/bfloat16.ts";
import { dtypeOf, findStoredDtype, isHostArray } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { copyOf, tagOf } from "../core/intrinsics.ts";
import type { StateKey, TensorKind } from "./tensor_names.ts";

/** An array of codes: of momentum in 8 bits, or of corrections. */
export type CodeArray = Int8Array | Uint8Array | Int16Array;

/** An array of a state dict. */
export type StoredArray = HostArray | CodeArray;

/** What a file has to know of the type of an array. */
export interface StoredType {
  /** Its name in safetensors files. */
  readonly safetensors: string;
  /** Bytes of one element. */
  readonly bytes: number;
  /** A view of `length` elements from `offset` bytes on. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => StoredArray;
}

const CODES = {
  Int8Array: {
    safetensors: "I8",
    bytes: 1,
    view: (buffer, offset, length) => new Int8Array(buffer, offset, length),
  },
  Uint8Array: {
    safetensors: "U8",
    bytes: 1,
    view: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
  },
  Int16Array: {
    safetensors: "I16",
    bytes: 2,
    view: (buffer, offset, length) => new Int16Array(buffer, offset, length),
  },
} satisfies Record<string, StoredType>;

const FLOATS: readonly string[] = ["F16", "BF16", "F32", "F64"];

/** The types that arrays of each kind may have, as files call them. */
export const STORED_TYPES: Readonly<Record<TensorKind, readonly string[]>> = {
  momentum_buffer: FLOATS,
  master_weight: ["F32"],
  momentum8: ["I8"],
  momentum_scales: ["U8"],
  correction: ["I16", "I8"],
  rows_in_use: ["U8", "F32", "F64"],
  parameter: FLOATS,
  average: ["F32", "F64"],
};

/** The classes of arrays of codes, as error messages name them. */
export const CODE_KINDS: Readonly<Partial<Record<StateKey, string>>> = {
  momentum8: "an Int8Array",
  momentum_scales: "a Uint8Array",
  correction: "an Int16Array or an Int8Array",
  rows_in_use: "a Uint8Array",
};

/**
 * The type of an array of a state dict.
 *
 * @throws {TypeError} If it is neither an array of a supported dtype nor one of codes.
 */
export function storedTypeOf(array: unknown, what: string): StoredType {
  return findCodeType(array) ?? dtypeOf(array, what);
}

/** The type of an array of codes; undefined for all other values. */
export function findCodeType(array: unknown): StoredType | undefined {
  switch (tagOf(array)) {
    case "Int8Array":
      return CODES.Int8Array;
    case "Uint8Array":
      return CODES.Uint8Array;
    case "Int16Array":
      return CODES.Int16Array;
  }
}

/** The type of an array of a state dict; undefined for all other values. */
export function findStored(array: unknown): StoredType | undefined {
  return findCodeType(array) ?? (isHostArray(array) ? dtypeOf(array, "") : undefined);
}

let bfloat16: StoredType | undefined;

/** The type of a name in a safetensors file; undefined if no array here can hold it. */
export function findStoredType(name: string): StoredType | undefined {
  // A file can be the first to bring bfloat16 into a program, which has to have the class then.
  if (name === "BF16") return bfloat16 ??= dtypeOf(new BFloat16Array(0), "");
  return findStoredDtype(name) ??
    Object.values(CODES).find(({ safetensors }) => safetensors === name);
}

/** A copy of an array, without a class of the user's. */
export function copyStored<T extends StoredArray>(array: T): T;

export function copyStored(array: StoredArray): StoredArray {
  switch (tagOf(array)) {
    case "Int8Array":
      return new Int8Array(array);
    case "Uint8Array":
      return new Uint8Array(array);
    case "Int16Array":
      return new Int16Array(array);
    default:
      return copyOf(array as HostArray);
  }
}
