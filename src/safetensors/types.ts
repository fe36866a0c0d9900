/** What the tensors of a safetensors file are in JavaScript. */

import type { BFloat16Array } from "../core/bfloat16.ts";

/**
 * The arrays of loaded tensors, by dtype.
 *
 * @category Tensors
 */
export interface DtypeArrays {
  /** 0 or 1 in each byte. */
  readonly BOOL: Uint8Array<ArrayBuffer>;
  /** Bytes of floats of 4 bits, packed. */
  readonly F4: Uint8Array<ArrayBuffer>;
  /** Bytes of floats of 6 bits, packed. */
  readonly F6_E2M3: Uint8Array<ArrayBuffer>;
  /** Bytes of floats of 6 bits, packed. */
  readonly F6_E3M2: Uint8Array<ArrayBuffer>;
  /** Whole numbers of 8 bits. */
  readonly U8: Uint8Array<ArrayBuffer>;
  /** Whole numbers of 8 bits, with a sign. */
  readonly I8: Int8Array<ArrayBuffer>;
  /** Bytes of floats of 8 bits. */
  readonly F8_E5M2: Uint8Array<ArrayBuffer>;
  /** Bytes of floats of 8 bits. */
  readonly F8_E4M3: Uint8Array<ArrayBuffer>;
  /** Bytes of exponents. */
  readonly F8_E8M0: Uint8Array<ArrayBuffer>;
  /** Bytes of floats of 8 bits. */
  readonly F8_E4M3FNUZ: Uint8Array<ArrayBuffer>;
  /** Bytes of floats of 8 bits. */
  readonly F8_E5M2FNUZ: Uint8Array<ArrayBuffer>;
  /** Whole numbers of 16 bits, with a sign. */
  readonly I16: Int16Array<ArrayBuffer>;
  /** Whole numbers of 16 bits. */
  readonly U16: Uint16Array<ArrayBuffer>;
  /** float16. */
  readonly F16: Float16Array<ArrayBuffer>;
  /** bfloat16. */
  readonly BF16: BFloat16Array<ArrayBuffer>;
  /** Whole numbers of 32 bits, with a sign. */
  readonly I32: Int32Array<ArrayBuffer>;
  /** Whole numbers of 32 bits. */
  readonly U32: Uint32Array<ArrayBuffer>;
  /** float32. */
  readonly F32: Float32Array<ArrayBuffer>;
  /** Bytes of pairs of float32: real and imaginary part. */
  readonly C64: Uint8Array<ArrayBuffer>;
  /** float64. */
  readonly F64: Float64Array<ArrayBuffer>;
  /** Whole numbers of 64 bits, with a sign. */
  readonly I64: BigInt64Array<ArrayBuffer>;
  /** Whole numbers of 64 bits. */
  readonly U64: BigUint64Array<ArrayBuffer>;
}

/**
 * The dtypes of the safetensors format, by the names that files have.
 *
 * @category Tensors
 */
export type TensorDtype = keyof DtypeArrays;

/**
 * A tensor of a file. Its `dtype` says which array `data` is: comparing it narrows the type.
 *
 * `BOOL`, `C64` and the floats of 4, 6 and 8 bits have no array of their own: `data` has their bytes as
 * they are in the file. So has that of `F16` in a runtime without `Float16Array`.
 *
 * @example
 * ```ts
 * import { decodeTensors, encodeTensors } from "@descent/sgd/safetensors";
 *
 * const { w } = decodeTensors(encodeTensors({ w: { data: Float32Array.of(1, 2), shape: [2, 1] } }));
 * if (w.dtype === "F32") console.log(w.data[1], w.shape); // 2 [ 2, 1 ]
 * ```
 *
 * @category Tensors
 */
export type LoadedTensor = {
  [D in TensorDtype]: {
    /** The elements, row-major. */
    data: DtypeArrays[D];
    /** The shape; `[]` for a number. */
    shape: number[];
    /** The dtype, by the name that the file has. */
    dtype: D;
  };
}[TensorDtype];

/**
 * A tensor to be saved: what `loadTensors` returns, or a parameter, or an array with its shape.
 *
 * @category Tensors
 */
export interface SavedTensor {
  /** The elements, row-major; the bytes of the file as a `Uint8Array` do for every dtype. */
  readonly data: TensorArray;
  /** The shape. @default {one dimension} */
  readonly shape?: readonly number[];
  /** The dtype. @default {that of the array} */
  readonly dtype?: TensorDtype;
}

/**
 * The arrays that tensors are saved from.
 *
 * @category Tensors
 */
export type TensorArray =
  | Float32Array
  | Float64Array
  | Float16Array
  | BFloat16Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/**
 * The options of `saveTensors` and `encodeTensors`.
 *
 * @category Tensors
 */
export interface TensorsMetadata {
  /** Texts that go into the file's `__metadata__`, such as `{ format: "pt" }`. */
  metadata?: Readonly<Record<string, string>>;
}
