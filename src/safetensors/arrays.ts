/** Which array holds the tensors of which dtype. */

import type { ArrayType } from "../checkpoint/arrays.ts";
import type { Described } from "../checkpoint/tensor_fields.ts";
import { BFloat16Array } from "../core/bfloat16.ts";
import { isBFloat16Array } from "../core/bfloat16_class.ts";
import { tagOf } from "../core/intrinsics.ts";
import type { TensorArray } from "./types.ts";

/** The bytes of the file as they are: dtypes without an array of their own have them. */
const BYTES: ArrayType<TensorArray> = {
  bytes: 1,
  view: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
};

const FLOAT16: ArrayType<TensorArray> = {
  bytes: 2,
  view: (buffer, offset, length) => new Float16Array(buffer, offset, length),
};

const TYPES: ReadonlyMap<string, ArrayType<TensorArray>> = new Map([
  ["I8", {
    bytes: 1,
    view: (buffer, offset, length) => new Int8Array(buffer, offset, length),
  }],
  ["I16", {
    bytes: 2,
    view: (buffer, offset, length) => new Int16Array(buffer, offset, length),
  }],
  ["U16", {
    bytes: 2,
    view: (buffer, offset, length) => new Uint16Array(buffer, offset, length),
  }],
  ["BF16", {
    bytes: 2,
    view: (buffer, offset, length) => new BFloat16Array(buffer, offset, length),
  }],
  ["I32", {
    bytes: 4,
    view: (buffer, offset, length) => new Int32Array(buffer, offset, length),
  }],
  ["U32", {
    bytes: 4,
    view: (buffer, offset, length) => new Uint32Array(buffer, offset, length),
  }],
  ["F32", {
    bytes: 4,
    view: (buffer, offset, length) => new Float32Array(buffer, offset, length),
  }],
  ["F64", {
    bytes: 8,
    view: (buffer, offset, length) => new Float64Array(buffer, offset, length),
  }],
  ["I64", {
    bytes: 8,
    view: (buffer, offset, length) => new BigInt64Array(buffer, offset, length),
  }],
  ["U64", {
    bytes: 8,
    view: (buffer, offset, length) => new BigUint64Array(buffer, offset, length),
  }],
]);

/** The array of a tensor of a file. */
export function arrayTypeOf({ info: { dtype } }: Described): ArrayType<TensorArray> {
  if (dtype === "F16") return typeof Float16Array === "undefined" ? BYTES : FLOAT16;
  return TYPES.get(dtype) ?? BYTES;
}

const DTYPES: ReadonlyMap<string | undefined, string> = new Map([
  ["Int8Array", "I8"],
  ["Uint8Array", "U8"],
  ["Int16Array", "I16"],
  ["Uint16Array", "U16"],
  ["Float16Array", "F16"],
  ["Int32Array", "I32"],
  ["Uint32Array", "U32"],
  ["Float32Array", "F32"],
  ["Float64Array", "F64"],
  ["BigInt64Array", "I64"],
  ["BigUint64Array", "U64"],
]);

/** The dtype that an array has by itself; undefined for what is not an array of a file. */
export function ownDtypeOf(array: unknown): string | undefined {
  return isBFloat16Array(array) ? "BF16" : DTYPES.get(tagOf(array));
}
