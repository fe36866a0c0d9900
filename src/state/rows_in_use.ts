/**
 * The rows in use in state dicts and files: a byte for each row of a matrix, 1 for a row that has ever
 * had a gradient. It also says that the momentum buffer began with a sparse gradient.
 *
 * torch ignores the key. Its `load_state_dict` casts every tensor of state to the parameter's dtype, so
 * that the bytes may come back as floating-point numbers.
 */

import { deviceOf, dtypeOf, isHostArray, isSixteenBit } from "../core/dtype.ts";
import type { Dtype, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import type { Parameter } from "../core/parameter.ts";
import { refusal, wrong } from "../core/validate.ts";

/** The rows in use of one matrix. */
export type RowsInUseArray = Uint8Array | Float32Array | Float64Array;

/**
 * Checks that there is one for each row of a momentum buffer.
 *
 * @param shape That of the buffer; null if it is not known.
 * @param entry What errors call the state of the parameter.
 * @throws {TypeError} If there is no such buffer.
 * @throws {RangeError} If the length does not fit.
 */
export function checkRowCount(
  rows: RowsInUseArray,
  buffer: HostArray | null | undefined,
  shape: readonly number[] | null | undefined,
  entry: string,
): void {
  const what = `${entry}.momentum_buffer`;
  if (!isHostArray(buffer) || isSixteenBit(dtypeOf(buffer, what))) {
    throw wrong(what, "a Float32Array or a Float64Array, as there is rows_in_use", buffer);
  }
  const [count, length] = [lengthOf(rows), lengthOf(buffer)];
  if (count === 0 ? length === 0 : length % count === 0 && isRowCount(count, shape)) return;
  const reason = `${entry}.rows_in_use must have an element for each row of momentum_buffer`;
  throw new RangeError(refusal("use the state dict", reason, count, "length"));
}

function isRowCount(count: number, shape: readonly number[] | null | undefined): boolean {
  return shape === null || shape === undefined || shape.length === 2 && shape[0] === count;
}

/**
 * Checks the elements.
 *
 * @throws {RangeError} If one is neither 0 nor 1.
 */
export function checkRowFlags(rows: RowsInUseArray, what: string): void {
  const length = lengthOf(rows);
  for (let i = 0; i < length; i++) {
    if (rows[i] === 0 || rows[i] === 1) continue;
    const reason = `each of ${what} must be 0 or 1`;
    throw new RangeError(refusal("use the state dict", reason, `${rows[i]} at ${i}`));
  }
}

/** Why a parameter cannot have rows in use, or not so many; null if it can. */
export function rowsMisfit(
  rows: RowsInUseArray | undefined,
  { data, shape }: Parameter<Tensor>,
  own: Dtype,
): string | null {
  if (rows === undefined) return null;
  if (deviceOf(data) !== undefined || isSixteenBit(own)) {
    return "accepts no sparse gradients, but its momentum buffer in the dict began with one";
  }
  const count = lengthOf(rows);
  if (count === 0 || isRowCount(count, shape)) return null;
  return `has shape [${shape!.join(", ")}], but its rows in the dict: ${count}`;
}
