/** The dtypes of the safetensors format, in its own order, and the arrays that a file is written from. */

import type { StoredArray } from "../state/stored_array.ts";

/** An array whose bytes are the data of a tensor. */
export type FileArray =
  | StoredArray
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** Bits per element, in the order of the format's own list: writers put the last ones first. */
const BITS: ReadonlyMap<string, number> = new Map([
  ["BOOL", 8],
  ["F4", 4],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ["U8", 8],
  ["I8", 8],
  ["F8_E5M2", 8],
  ["F8_E4M3", 8],
  ["F8_E8M0", 8],
  ["F8_E4M3FNUZ", 8],
  ["F8_E5M2FNUZ", 8],
  ["I16", 16],
  ["U16", 16],
  ["F16", 16],
  ["BF16", 16],
  ["I32", 32],
  ["U32", 32],
  ["F32", 32],
  ["C64", 64],
  ["F64", 64],
  ["I64", 64],
  ["U64", 64],
]);

const RANKS: ReadonlyMap<string, number> = new Map([...BITS.keys()].map((dtype, i) => [dtype, i]));

/** The bits of an element; undefined if the format does not have the dtype. */
export function bitsOfDtype(dtype: string): number | undefined {
  return BITS.get(dtype);
}

/** The place of a dtype in the list of the format; -1 if it is not there. */
export function rankOfDtype(dtype: string): number {
  return RANKS.get(dtype) ?? -1;
}

/**
 * The bits of a tensor; infinity if a product on the way to them is not exact, even before a zero.
 *
 * @param bits Those of an element.
 */
export function bitsOfShape(bits: number, shape: readonly number[]): number {
  let total = bits;
  for (const side of shape) {
    total *= side;
    if (total > Number.MAX_SAFE_INTEGER) return Infinity;
  }
  return total;
}
