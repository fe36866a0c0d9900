/** The arrays that hold elements in JavaScript's memory. */

import type { BFloat16Array } from "./bfloat16.ts";

/**
 * An array of float32 or float64.
 *
 * @category Parameters
 */
export type FloatArray = Float32Array | Float64Array;

/**
 * An array of a 16-bit type: float16 or bfloat16.
 *
 * @category Parameters
 */
export type HalfArray = Float16Array | BFloat16Array;

/**
 * An array of one of the supported dtypes.
 *
 * @category Parameters
 */
export type HostArray = FloatArray | HalfArray;
