/** The table with which the native library goes back through a step. */

import type { Pullback } from "../pullback.ts";
import { lengthOf } from "../intrinsics.ts";
import type { FloatArray } from "../parameter.ts";

/** States of a row, as `kernels/src/ffi/vjp.rs` reads them. */
const FIRST = 1n;
const LATER = 2n;

/** One row of 11 words per tensor. The arrays must live until the table has been used. */
export function toRows(
  pullbacks: readonly Pullback[],
  address: (array: FloatArray) => number,
): BigUint64Array<ArrayBuffer> {
  const at = (array: FloatArray | null) => array === null ? 0n : BigInt(address(array));
  const words = pullbacks.flatMap((p) => [
    ...[p.param, p.grad, p.buffer, p.paramCotangent, p.bufferCotangent].map(at),
    ...[p.dParam, p.dGrad, p.dBuffer].map(at),
    BigInt(lengthOf(p.param)),
    BigInt(p.dtype.code),
    p.buffer === null ? FIRST : LATER,
  ]);
  const rows = new BigUint64Array(Math.max(1, words.length)); // an empty array may lie nowhere
  rows.set(words);
  return rows;
}
