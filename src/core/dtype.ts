/** The types of elements, and the devices that tensors may be on. */

import { roundToBFloat16 } from "./bfloat16_bits.ts";
import { bfloat16ArrayClass, isBFloat16Array } from "./bfloat16_class.ts";
import type { Device, DeviceTensor } from "./device.ts";
import type { FloatArray, HostArray } from "./host_array.ts";
import { float16ArrayClass } from "./float16.ts";
import { lengthOf, tagOf } from "./intrinsics.ts";
import { wrongType } from "./validate.ts";

export type { Device, DeviceTensor } from "./device.ts";

/**
 * What holds the elements of a parameter: an array, or a tensor on a device.
 *
 * @category Parameters
 */
export type Tensor = HostArray | DeviceTensor;

/** The type of a tensor's elements, and the device that they are on. */
export interface ElementType {
  /** The number that stands for it in the table that kernels read. */
  readonly code: number;
  /** Bytes of one element. */
  readonly bytes: number;
  /** The field's name for it. */
  readonly name: "float16" | "bfloat16" | "float32" | "float64";
  /** The device of the tensors; arrays have none. */
  readonly device?: Device;
  /** A tensor of zeros. */
  readonly zeros: (length: number) => Tensor;
  /** Tensors of zeros that share memory, where a device can step them faster then. */
  readonly zerosAll?: (lengths: readonly number[]) => Tensor[];
}

/** A supported dtype of arrays. */
export interface Dtype extends ElementType {
  /** An array of zeros. */
  readonly zeros: (length: number) => HostArray;
  /** A view of `length` elements from `offset` bytes on. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => HostArray;
  /** The nearest value of this dtype. */
  readonly round: (value: number) => number;
  /** The name of this dtype in safetensors files. */
  readonly safetensors: "F16" | "BF16" | "F32" | "F64";
}

/** A dtype that arithmetic uses directly, without conversion: float32 or float64. */
export interface WideDtype extends Dtype {
  /** The field's name for it. */
  readonly name: "float32" | "float64";
  /** An array of zeros. */
  readonly zeros: (length: number) => FloatArray;
  /** A view of `length` elements from `offset` bytes on. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => FloatArray;
}

const DTYPES = {
  Float32Array: {
    code: 0,
    bytes: 4,
    name: "float32",
    zeros: (length) => new Float32Array(length),
    view: (buffer, offset, length) => new Float32Array(buffer, offset, length),
    round: Math.fround,
    safetensors: "F32",
  },
  Float64Array: {
    code: 1,
    bytes: 8,
    name: "float64",
    zeros: (length) => new Float64Array(length),
    view: (buffer, offset, length) => new Float64Array(buffer, offset, length),
    round: (value) => value,
    safetensors: "F64",
  },
  Float16Array: {
    code: 2,
    bytes: 2,
    name: "float16",
    zeros: (length) => new (float16ArrayClass())(length),
    view: (buffer, offset, length) => new (float16ArrayClass())(buffer, offset, length),
    round: (value) => Math.f16round(value),
    safetensors: "F16",
  },
  BFloat16Array: {
    code: 3,
    bytes: 2,
    name: "bfloat16",
    zeros: (length) => new (bfloat16ArrayClass())(length),
    view: (buffer, offset, length) => new (bfloat16ArrayClass())(buffer, offset, length),
    round: roundToBFloat16,
    safetensors: "BF16",
  },
} satisfies Record<string, Dtype>;

const STORED = new Map<string, Dtype>(
  Object.values(DTYPES).map((dtype) => [dtype.safetensors, dtype]),
);

/** The dtype of a name in a safetensors file; undefined if no array here can hold it. */
export function findStoredDtype(name: string): Dtype | undefined {
  return STORED.get(name);
}

/** float32, for code that needs a dtype and has no array. */
export const FLOAT32: WideDtype = DTYPES.Float32Array;

const placed = new WeakMap<unknown & WeakKey, ElementType>();

const placeOf = placed.get.bind(placed) as (value: unknown) => ElementType | undefined;

/** Registers a tensor as one of a device's. */
export function registerDeviceTensor(tensor: DeviceTensor, type: ElementType): void {
  placed.set(tensor, type);
}

/** The device of a tensor; undefined for an array. */
export function deviceOf(value: unknown): Device | undefined {
  return placeOf(value)?.device;
}

/** The number of elements of a tensor of a type. */
export function lengthIn(tensor: Tensor, { device }: ElementType): number {
  return device === undefined ? lengthOf(tensor) : tensor.length;
}

/** The number of elements of an array or of a tensor on a device. */
export function countOf(tensor: Tensor): number {
  return deviceOf(tensor) === undefined ? lengthOf(tensor) : tensor.length;
}

/**
 * The type of the elements of an array or of a tensor on a device.
 *
 * @throws {TypeError} If the value is neither.
 */
export function elementTypeOf(value: unknown, what: string): ElementType {
  return findElementType(value) ??
    refuseKind(
      value,
      what,
      "a Float32Array, a Float64Array, a Float16Array, a BFloat16Array, a GpuTensor or a WebGpuTensor",
    );
}

/** The same; undefined if the value is neither. */
export function findElementType(value: unknown): ElementType | undefined {
  return placeOf(value) ?? findDtype(value);
}

/**
 * The dtype of an array.
 *
 * @throws {TypeError} If the value is not an array of a supported dtype.
 */
export function dtypeOf(value: unknown, what: string): Dtype {
  return findDtype(value) ??
    refuseKind(value, what, "a Float32Array, a Float64Array, a Float16Array or a BFloat16Array");
}

/** Whether a value is an array of a supported dtype. */
export function isHostArray(value: unknown): value is HostArray {
  return findDtype(value) !== undefined;
}

function findDtype(value: unknown): Dtype | undefined {
  switch (tagOf(value)) {
    case "Float32Array":
      return DTYPES.Float32Array;
    case "Float64Array":
      return DTYPES.Float64Array;
    case "Float16Array":
      return DTYPES.Float16Array;
    case "Uint16Array":
      return isBFloat16Array(value) ? DTYPES.BFloat16Array : undefined;
  }
}

function refuseKind(value: unknown, what: string, kinds: string): never {
  throw wrongType(`use ${what}`, `it must be ${kinds}`, value);
}

/**
 * Whether elements are of 16 bits, in JavaScript's memory: kernels compute with them in float32.
 */
export function isSixteenBit({ bytes, device }: ElementType): boolean {
  return bytes === 2 && device === undefined;
}
