/** What the optimizer steps: parameters, their arrays, and the dtypes these may have. */

import { BFloat16Array, isBFloat16Array, roundToBFloat16 } from "./bfloat16.ts";
import {
  bufferOf,
  byteLengthOf,
  byteOffsetOf,
  lengthOf,
  stateOfBuffer,
  tagOf,
} from "./intrinsics.ts";

/** An array of float32 or float64. */
export type FloatArray = Float32Array | Float64Array;

/** An array of a 16-bit type: float16 or bfloat16. */
export type HalfArray = Float16Array | BFloat16Array;

/** An array of one of the supported dtypes. */
export type HostArray = FloatArray | HalfArray;

/** Where tensors lie that are not in JavaScript's memory. */
export interface Device {
  /** The tensor's place on a scale that all memory shares, above the host's addresses. */
  address(tensor: DeviceTensor): number;
  /** Queues one step of those rows of a plan's tables that are on this device. */
  step(
    rows: BigUint64Array<ArrayBuffer>,
    rowCount: number,
    from: number,
    to: number,
    groups: Float64Array<ArrayBuffer>,
    groupCount: number,
  ): void;
  /** Fills tensors with zeros. */
  zero(tensors: readonly DeviceTensor[]): void;
  /** Waits until everything that is queued has been done. */
  synchronize(): Promise<void>;
}

/** A tensor on a device: a `GpuTensor`. What it says of itself cannot be redefined. */
export interface DeviceTensor {
  /** Elements. */
  readonly length: number;
  /** Bytes of all elements. */
  readonly byteLength: number;
  /** Reads all elements, and waits for them. */
  readSync(): Float32Array | Float16Array;
  /** Writes all elements. */
  write(array: Float32Array | Float16Array): void;
}

/** What holds the elements of a parameter: an array, or a tensor on a device. */
export type Tensor = HostArray | DeviceTensor;

/**
 * A trainable tensor: its values, their gradient, and what it is called.
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
 */
export interface Parameter<T extends Tensor = FloatArray> {
  /** The values: any number of elements. */
  data: T;
  /** The gradient: length, dtype and device of `data`, or null for "none this time". */
  grad: T | null;
  /**
   * What the parameter is called: its own name within an optimizer, which reads it once, as it gets
   * the parameter. State dicts and files carry it, and state is loaded by it.
   */
  name?: string;
  /** The tensor's shape; its product is `data.length`. The step does not depend on it. */
  shape?: readonly number[];
}

/**
 * The gradient of some rows of a matrix, as an embedding makes it; the other rows have none.
 *
 * An index may occur more than once: the gradient of that row is the sum of its entries. Indices
 * need no order. The arrays are the caller's and are only read.
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
 */
export interface SparseGrad {
  /** The rows, each >= 0 and < rows. */
  readonly indices: Int32Array | Uint32Array | BigInt64Array;
  /** Their gradients: [indices.length, columns], dtype of the parameter. */
  readonly values: FloatArray;
  /** The parameter's shape. */
  readonly shape: readonly [rows: number, columns: number];
}

/** A parameter whose gradient may be sparse; it is a matrix then. */
export interface SparseParameter extends Omit<Parameter, "grad"> {
  /** The gradient, of all rows or of some, or null for "none this time". */
  grad: FloatArray | SparseGrad | null;
}

/** The type of a tensor's elements, and where they lie. */
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
}

/** A supported dtype of arrays. */
export interface Dtype extends ElementType {
  /** An array of zeros. */
  readonly zeros: (length: number) => HostArray;
  /** A view of `length` elements from `offset` bytes on. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => HostArray;
  /** The nearest value of this dtype. */
  readonly round: (value: number) => number;
}

/** A dtype that is computed in as it is: float32 or float64. */
export interface WideDtype extends Dtype {
  /** The field's name for it. */
  readonly name: "float32" | "float64";
  /** An array of zeros. */
  readonly zeros: (length: number) => FloatArray;
  /** A view of `length` elements from `offset` bytes on. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => FloatArray;
}

/** What says where the elements of an array are. */
const PROPERTIES = ["length", "buffer", "byteOffset", "byteLength"] as const;

const DTYPES = {
  Float32Array: {
    code: 0,
    bytes: 4,
    name: "float32",
    zeros: (length) => new Float32Array(length),
    view: (buffer, offset, length) => new Float32Array(buffer, offset, length),
    round: Math.fround,
  },
  Float64Array: {
    code: 1,
    bytes: 8,
    name: "float64",
    zeros: (length) => new Float64Array(length),
    view: (buffer, offset, length) => new Float64Array(buffer, offset, length),
    round: (value) => value,
  },
  // Named inside functions only, as not every runtime has float16.
  Float16Array: {
    code: 2,
    bytes: 2,
    name: "float16",
    zeros: (length) => new Float16Array(length),
    view: (buffer, offset, length) => new Float16Array(buffer, offset, length),
    round: (value) => Math.f16round(value),
  },
  BFloat16Array: {
    code: 3,
    bytes: 2,
    name: "bfloat16",
    zeros: (length) => new BFloat16Array(length),
    view: (buffer, offset, length) => new BFloat16Array(buffer, offset, length),
    round: roundToBFloat16,
  },
} satisfies Record<string, Dtype>;

/** float32, for what needs a dtype and has no array. */
export const FLOAT32: WideDtype = DTYPES.Float32Array;

const placed = new WeakMap<unknown & WeakKey, ElementType>();
const placeOf = placed.get.bind(placed) as (value: unknown) => ElementType | undefined;

/** Makes a tensor known as one of a device's. */
export function place(tensor: DeviceTensor, type: ElementType): void {
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
    refuse(
      value,
      what,
      "a Float32Array, a Float64Array, a Float16Array, a BFloat16Array or a GpuTensor",
    );
}

/** The same; undefined if the value is neither. */
export function findElementType(value: unknown): ElementType | undefined {
  return placeOf(value) ?? findDtype(value);
}

/**
 * The dtype of an array.
 *
 * @throws {TypeError} If the value is no array of a supported dtype.
 */
export function dtypeOf(value: unknown, what: string): Dtype {
  return findDtype(value) ??
    refuse(value, what, "a Float32Array, a Float64Array, a Float16Array or a BFloat16Array");
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

function refuse(value: unknown, what: string, kinds: string): never {
  throw new TypeError(
    `Cannot use ${what} as it must be ${kinds}: current value is ${describe(value)}`,
  );
}

/** Whether elements are of 16 bits, in JavaScript's memory: kernels compute with them in float32. */
export function isSixteenBit({ bytes, device }: ElementType): boolean {
  return bytes === 2 && device === undefined;
}

/**
 * Whether memory can neither move nor vanish under a kernel: `checkBuffer` says why not.
 *
 * @throws {Error} If it is a tensor of a device that was disposed of.
 */
export function isFixed(tensor: Tensor | SparseGrad["indices"]): boolean {
  const device = deviceOf(tensor);
  if (device !== undefined) {
    device.address(tensor as DeviceTensor);
    return true;
  }
  if (!isHonest(tensor as HostArray)) return false;
  const { detached, resizableTo } = stateOfBuffer(bufferOf(tensor));
  return !detached && resizableTo === null;
}

/** Whether it is a tensor whose memory is fixed. */
export function isUsable(value: unknown): value is Tensor {
  return findElementType(value) !== undefined && isFixed(value as Tensor);
}

/** Whether its properties are what it is. Nothing goes by them; it only saves the caller a surprise. */
function isHonest(array: HostArray): boolean {
  return array.length === lengthOf(array) && array.buffer === bufferOf(array) &&
    array.byteOffset === byteOffsetOf(array) && array.byteLength === byteLengthOf(array);
}

/**
 * Refuses memory that can move or vanish under a kernel: detached and resizable buffers.
 *
 * @throws {TypeError} If the array's buffer is detached, resizable or growable, or if the array hides
 * its true length or buffer.
 */
export function checkBuffer(tensor: Tensor | SparseGrad["indices"], what: string): void {
  if (!isFixed(tensor)) throw bufferError(tensor, what);
}

/** Why memory is not fixed. */
export function bufferError(tensor: Tensor | SparseGrad["indices"], what: string): TypeError {
  const { detached, resizableTo } = stateOfBuffer(bufferOf(tensor));
  if (detached) return new TypeError(`Cannot use ${what} as its buffer is detached`);
  if (resizableTo !== null) {
    return new TypeError(
      `Cannot use ${what} as its buffer must have a fixed size: ` +
        `current buffer can be resized up to ${resizableTo} bytes`,
    );
  }
  return new TypeError(
    `Cannot use ${what} as it must not redefine ${PROPERTIES.join(", ")}: ` +
      `current length is ${tensor.length}, of ${lengthOf(tensor)} elements`,
  );
}

/** What error messages call a parameter, such as `parameter 3 ("w")`. */
export function label(parameter: { readonly name?: string }, index: number): string {
  return parameter.name === undefined
    ? `parameter ${index}`
    : `parameter ${index} ("${parameter.name}")`;
}

/** A value as error messages show it: short, and with its type where that is the point. */
export function describe(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (value === null || typeof value !== "object") return String(value);
  const name = (value as object).constructor?.name;
  return name === undefined || name === "Object" ? "an object" : `of type ${name}`;
}

/**
 * Checks what does not change between steps: the kind of object, its name, shape and data.
 *
 * @throws {TypeError} If it is no parameter, or its name or shape is of another type.
 * @throws {RangeError} If the shape's product is not the length of the data.
 */
export function checkParameter(value: unknown, index: number): asserts value is Parameter<Tensor> {
  if (typeof value !== "object" || value === null || !("data" in value)) {
    throw new TypeError(
      `Cannot use parameter ${index} as it must be an object { data, grad }: ` +
        `current value is ${describe(value)}`,
    );
  }
  const { data, name, shape } = value as Parameter<Tensor>;
  if (name !== undefined && typeof name !== "string") {
    throw new TypeError(
      `Cannot use parameter ${index} as name must be a string: current value is ${describe(name)}`,
    );
  }
  if (!isUsable(data)) {
    const what = `data of ${label({ name }, index)}`;
    elementTypeOf(data, what);
    checkBuffer(data, what);
  }
  if (shape === undefined) return;
  const length = countOf(data);
  if (!isShape(shape, length)) checkShape(shape, length, label({ name }, index));
}

/** Whether it is the shape of a tensor of so many elements: `checkShape` says why not. */
function isShape(shape: unknown, length: number): shape is readonly number[] {
  if (!Array.isArray(shape)) return false;
  let product = 1;
  for (let i = 0; i < shape.length; i++) {
    if (!Number.isSafeInteger(shape[i]) || shape[i] < 0) return false;
    product *= shape[i];
  }
  return product === length;
}

/**
 * Checks the shape of a tensor of so many elements.
 *
 * @throws {TypeError} If it is no array of whole numbers >= 0.
 * @throws {RangeError} If its product is not the number of elements.
 */
export function checkShape(shape: unknown, length: number, what: string): void {
  if (isShape(shape, length)) return;
  if (!Array.isArray(shape) || !shape.every((side) => Number.isSafeInteger(side) && side >= 0)) {
    throw new TypeError(
      `Cannot use ${what} as shape must be an array of whole numbers >= 0: ` +
        `current value is ${Array.isArray(shape) ? `[${shape.join(", ")}]` : describe(shape)}`,
    );
  }
  const product = shape.reduce((a, b) => a * b, 1);
  throw new RangeError(
    `Cannot use ${what} as its shape must have ${length} elements, like its data: ` +
      `current shape [${shape.join(", ")}] has ${product}`,
  );
}
