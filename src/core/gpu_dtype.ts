/** The dtypes that tensors on a GPU may have. */

import { tagOf } from "./intrinsics.ts";
import { wrongType } from "./validate.ts";

/**
 * The arrays that hold a GPU tensor's elements on the host, by dtype.
 *
 * @category GPU
 */
export interface GpuArrays {
  /** float32 */
  float32: Float32Array<ArrayBuffer>;
  /** float16, on adapters that have it */
  float16: Float16Array<ArrayBuffer>;
}

/**
 * A dtype of GPU tensors; all arithmetic is float32.
 *
 * @category GPU
 */
export type GpuDtype = keyof GpuArrays;

/**
 * The dtype of an array of the host, if tensors of a GPU can have it.
 *
 * @param doing The words after "Cannot" in the error.
 * @throws {TypeError} If they cannot; float64 is never narrowed.
 */
export function arrayDtype(array: unknown, doing: string): GpuDtype {
  const tag = tagOf(array);
  if (tag === "Float32Array") return "float32";
  if (tag === "Float16Array") return "float16";
  const hint = tag === "Float64Array" ? ", and float64 is not narrowed" : "";
  throw wrongType(doing, `it must be a Float32Array or a Float16Array${hint}`, array);
}
