/** Tensors in buffers of WebGPU. */

import { registerDeviceTensor } from "../core/dtype.ts";
import type { DeviceTensor, ElementType } from "../core/dtype.ts";
import { arrayDtype } from "../core/gpu_dtype.ts";
import type { GpuArrays, GpuDtype } from "../core/gpu_dtype.ts";
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf } from "../core/intrinsics.ts";
import { printContents } from "../core/printing.ts";
import { cannot, refusal, wrongType } from "../core/validate.ts";
import { USAGE } from "./api.ts";
import type { Buffer, WebGpuBuffer } from "./api.ts";
import type { Context } from "./context.ts";
import { startOf } from "./places.ts";
import { readRange, writeRange } from "./transfer.ts";
import type { Elements } from "./transfer.ts";

/** What a tensor is made of. */
interface Parts<D extends GpuDtype> {
  readonly context: Context;
  readonly dtype: D;
  readonly type: ElementType;
  readonly buffer: Buffer;
  /** Elements from the start of the buffer. */
  readonly offset: number;
  readonly length: number;
  /** Frees the buffer, if it is Descent's. */
  readonly free: (() => void) | null;
}

/** Makes a tensor. */
export let createTensor: <D extends GpuDtype, B extends WebGpuBuffer>(
  parts: Parts<D>,
) => WebGpuTensor<D, B>;

/** The elements of a tensor; throws after disposal. */
export let elementsOf: (tensor: DeviceTensor) => Elements;

/** Where a tensor begins on the scale of all memory; throws after disposal. */
export let addressOf: (tensor: DeviceTensor) => number;

/** Throws if a tensor cannot be written by `write`. */
export let checkWritable: (tensor: DeviceTensor) => void;

/**
 * A tensor in a `GPUBuffer`. `gpu.tensor` makes it; `data` and `grad` of a parameter can be one.
 *
 * Reads and writes are queued like everything else: a read sees what was queued before it.
 *
 * @category WebGPU
 */
export class WebGpuTensor<
  D extends GpuDtype = "float32",
  B extends WebGpuBuffer = WebGpuBuffer,
> implements DeviceTensor {
  /** The type of its elements. */
  readonly dtype: D;
  /** Where it begins in the buffer, in elements. */
  readonly offset: number;
  readonly #parts: Parts<D>;
  readonly #elements: Elements;
  readonly #address: number;
  #isDisposed = false;

  static {
    createTensor = (parts) => new WebGpuTensor(parts);
    printContents(WebGpuTensor.prototype, "WebGpuTensor", (tensor) => {
      const { dtype, offset } = tensor;
      const disposed = tensor.#isDisposed ? { disposed: true } : {};
      return { dtype, length: tensor.#parts.length, offset, ...disposed };
    });
    Object.freeze(WebGpuTensor.prototype); // nothing can fake another length
    const open = (tensor: DeviceTensor) => {
      const own = tensor as unknown as WebGpuTensor<GpuDtype>;
      own.#checkOpen();
      return own;
    };
    elementsOf = (tensor) => open(tensor).#elements;
    addressOf = (tensor) => open(tensor).#address;
    checkWritable = (tensor) => open(tensor).#checkUsage("write", "COPY_DST");
  }

  private constructor(parts: Parts<D>) {
    const { dtype, type, buffer, offset, length } = parts;
    this.dtype = dtype;
    this.offset = offset;
    this.#parts = parts;
    const { bytes } = type;
    const isHalf = dtype === "float16";
    this.#elements = { buffer, isHalf, offset: offset * bytes, size: length * bytes };
    this.#address = startOf(buffer) + offset * bytes;
    registerDeviceTensor(this, type);
    Object.freeze(this);
  }

  /**
   * The number of elements.
   *
   * @throws {TypeError} If the tensor has been disposed.
   */
  get length(): number {
    this.#checkOpen();
    return this.#parts.length;
  }

  /** Bytes of all elements. */
  get byteLength(): number {
    return this.#elements.size;
  }

  /**
   * The buffer that its elements are in. Momentum buffers share one.
   *
   * @throws {TypeError} If the tensor has been disposed.
   */
  get buffer(): B {
    this.#checkOpen();
    return this.#parts.buffer as WebGpuBuffer as B;
  }

  /**
   * Reads all elements as they are after all work that has been queued.
   *
   * @throws {TypeError} If the buffer lacks the usage COPY_SRC, or the tensor has been disposed.
   * @throws {Error} If the device is lost, or has refused some of the work so far.
   */
  async read(): Promise<GpuArrays[D]> {
    this.#checkOpen();
    this.#checkUsage("read", "COPY_SRC");
    const bytes = await readRange(this.#parts.context, this.#elements, "read the tensor");
    const array = this.dtype === "float16" ? new Float16Array(bytes) : new Float32Array(bytes);
    return array as GpuArrays[D];
  }

  /**
   * Writes all elements. The array is copied before this returns.
   *
   * @throws {TypeError} If it is of another dtype, the buffer lacks the usage COPY_DST, or the tensor
   * has been disposed.
   * @throws {RangeError} If it has another length.
   * @throws {Error} If the device is known to be lost.
   */
  write(array: Float32Array | Float16Array): void {
    this.#checkOpen();
    this.#checkUsage("write", "COPY_DST");
    this.#checkArray(array);
    const buffer = bufferOf(array) as ArrayBuffer;
    const bytes = new Uint8Array(buffer, byteOffsetOf(array), byteLengthOf(array));
    writeRange(this.#parts.context, this.#elements, bytes);
  }

  /**
   * Destroys the buffer if `gpu.tensor` has made it; a buffer of yours stays. The tensor cannot be used
   * any more.
   */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#parts.free?.();
  }

  #checkOpen(): void {
    if (this.#isDisposed) throw new TypeError(cannot("use the tensor", "it has been disposed"));
  }

  #checkUsage(doing: "read" | "write", usage: "COPY_SRC" | "COPY_DST"): void {
    if ((this.#parts.buffer.usage & USAGE[usage]) !== 0) return;
    const what = `${doing} the tensor`;
    throw new TypeError(cannot(what, `its buffer must have the usage GPUBufferUsage.${usage}`));
  }

  #checkArray(array: unknown): void {
    if (arrayDtype(array, "write the array") !== this.dtype) {
      throw wrongType("write the array", `it must be ${this.dtype}, like the tensor`, array);
    }
    const [length, own] = [lengthOf(array), this.#parts.length];
    if (length === own) return;
    const reason = `its length must be ${own}, like the tensor's`;
    throw new RangeError(refusal("write the array", reason, length, "length"));
  }
}
