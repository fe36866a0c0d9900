/** The dtypes of GPU tensors in the native library. */

import type { GpuDtype } from "../core/gpu_dtype.ts";
import type { DtypeCode } from "./device.ts";

/** What is the same for all tensors of a dtype. */
export interface GpuFormat {
  readonly code: DtypeCode;
  readonly bytes: number;
  readonly array: (length: number) => Float32Array<ArrayBuffer> | Float16Array<ArrayBuffer>;
}

/** What is the same for all tensors of a dtype, by dtype. */
export const FORMATS: Readonly<Record<GpuDtype, GpuFormat>> = {
  float32: { code: 0, bytes: 4, array: (length) => new Float32Array(length) },
  float16: { code: 1, bytes: 2, array: (length) => new Float16Array(length) },
};
