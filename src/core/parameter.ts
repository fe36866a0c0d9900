/** Parameters and sparse gradients, and the names that error messages give them. */

import type { Tensor } from "./dtype.ts";
import type { BFloat16Array } from "./bfloat16.ts";
import type { FloatArray } from "./host_array.ts";

/**
 * A trainable tensor: its values, their gradient and its name.
 *
 * The caller owns the arrays. `data` is updated in place by every step; `grad` is only read, and
 * may be replaced between two steps. A parameter whose `grad` is null is skipped by that step,
 * momentum and weight decay included. Arrays on a `SharedArrayBuffer` are allowed as long as no other
 * worker touches them during a step. Both can be tensors of a GPU, but not one of them alone.
 *
 * @example
 * ```ts
 * import type { Parameter } from "@descent/sgd";
 *
 * const weights: Parameter = {
 *   data: new Float32Array(64 * 10),
 *   grad: null,
 *   name: "weights",
 *   shape: [64, 10],
 * };
 * ```
 *
 * @category Parameters
 */
export interface Parameter<T extends Tensor = FloatArray> {
  /** The values: any number of elements. */
  data: T;
  /**
   * The gradient: length, dtype and device of `data`, or null for "none this time". That of an array of
   * a 16-bit type may also be float32.
   */
  grad: NoInfer<T> | HalfGradient<T> | null;
  /**
   * The parameter's name, unique within an optimizer, which reads it once, when it is given the
   * parameter. State dicts and files contain it, and state is matched by it when it is loaded.
   */
  name?: string;
  /** The tensor's shape; its product is `data.length`. The step does not depend on it. */
  shape?: readonly number[];
}

/**
 * What the gradient may also be of data in a 16-bit type: an array of that type in any memory, or one
 * of float32.
 *
 * @category Parameters
 */
export type HalfGradient<T extends Tensor> = T extends Float16Array ? Float16Array | Float32Array
  : T extends BFloat16Array ? BFloat16Array | Float32Array
  : never;

/**
 * The gradient of some rows of a matrix, as an embedding layer produces it; the other rows have none.
 *
 * An index may occur more than once: the gradient of that row is the sum of its entries. Indices
 * need not be sorted. The arrays are the caller's and are only read.
 *
 * @example
 * ```ts
 * import type { SparseGrad } from "@descent/sgd";
 *
 * // Rows 7 and 2 of a matrix of 1,000 rows and 3 columns.
 * const grad: SparseGrad = {
 *   indices: new Int32Array([7, 2]),
 *   values: new Float32Array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
 *   shape: [1000, 3],
 * };
 * ```
 *
 * @category Parameters
 */
export interface SparseGrad {
  /** The rows, each >= 0 and < rows. */
  readonly indices: Int32Array | Uint32Array | BigInt64Array;
  /** Their gradients: [indices.length, columns], dtype of the parameter. */
  readonly values: FloatArray;
  /** The parameter's shape. */
  readonly shape: readonly [rows: number, columns: number];
}

/**
 * A parameter whose gradient may be sparse; it is a matrix then.
 *
 * @category Parameters
 */
export interface SparseParameter extends Omit<Parameter, "grad"> {
  /** The gradient, of all rows or of some, or null for "none this time". */
  grad: FloatArray | SparseGrad | null;
}

/** What error messages call a parameter, such as `parameter 3 ("w")`. */
export function label(parameter: { readonly name?: string }, index: number): string {
  return parameter.name === undefined
    ? `parameter ${index}`
    : `parameter ${index} ("${parameter.name}")`;
}

/** The arrays of a parameter. */
export type ArrayName =
  | "data"
  | "grad"
  | "momentum buffer"
  | "8-bit momentum"
  | "master weight"
  | "correction";

/** Such as `grad of parameter 3 ("w")`. */
export function nameArray(
  parameter: { readonly name?: string },
  index: number,
  array: ArrayName,
): string {
  return `${array} of ${label(parameter, index)}`;
}
