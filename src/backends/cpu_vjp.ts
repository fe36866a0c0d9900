/** The table with which the native library goes back through a step. */

import type { Pullback } from "../pullback.ts";
import { lengthOf } from "../intrinsics.ts";
import type { FloatArray } from "../parameter.ts";
import { FIRST, LATER } from "../tables.ts";

/** The words of a row, in their order, as `kernels/src/ffi/layout.rs` has it too. */
export const VJP_ROW = [
  ...["param", "grad", "buffer", "paramCotangent", "bufferCotangent"] as const,
  ...["dParam", "dGrad", "dBuffer"] as const,
  ...["length", "dtype", "state"] as const,
] as const;

/** One row per tensor. The arrays must live until the table has been used. */
export function toRows(
  pullbacks: readonly Pullback[],
  address: (array: FloatArray) => number,
): BigUint64Array<ArrayBuffer> {
  const wordOf = (p: Pullback, name: typeof VJP_ROW[number]): bigint => {
    if (name === "length") return BigInt(lengthOf(p.param));
    if (name === "dtype") return BigInt(p.dtype.code);
    if (name === "state") return BigInt(p.buffer === null ? FIRST : LATER);
    const { [name]: array } = p;
    return array === null ? 0n : BigInt(address(array));
  };
  const words = pullbacks.flatMap((p) => VJP_ROW.map((name) => wordOf(p, name)));
  const rows = new BigUint64Array(Math.max(1, words.length)); // an empty array may lie nowhere
  rows.set(words);
  return rows;
}
