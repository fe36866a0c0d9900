/** Tensors on a GPU. */

import type { NativeGpu } from "./device.ts";
import { arrayDtype } from "../core/gpu_dtype.ts";
import type { GpuArrays, GpuDtype } from "../core/gpu_dtype.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { printContents } from "../core/printing.ts";
import { cannot, refusal, wrongType } from "../core/validate.ts";
import { registerDeviceTensor } from "../core/dtype.ts";
import type { DeviceTensor, ElementType } from "../core/dtype.ts";
import { FORMATS } from "./dtype.ts";

/** What a tensor is made of. */
interface Parts<D extends GpuDtype> {
  readonly native: NativeGpu;
  readonly length: number;
  readonly name: D;
  readonly handle: number;
  readonly dtype: ElementType;
}

/** Makes a tensor. */
export let createTensor: <D extends GpuDtype>(parts: Parts<D>) => GpuTensor<D>;

/** The device of a tensor, and the number that stands for it there; throws after disposal. */
export let placeOf: (tensor: GpuTensor<GpuDtype>) => { native: NativeGpu; handle: number };

/** Frees tensors that are garbage-collected without having been disposed. */
const forgotten = new FinalizationRegistry<() => void>((free) => free());

/**
 * A tensor on a GPU. `gpu.tensor` makes it; `data` and `grad` of a parameter can be one.
 *
 * Reads and writes are queued like everything else: a read sees what was queued before it.
 *
 * @category GPU
 */
export class GpuTensor<D extends GpuDtype = "float32"> implements DeviceTensor {
  /** The type of its elements. */
  readonly dtype: D;
  readonly #native: NativeGpu;
  readonly #length: number;
  #handle: number;

  static {
    createTensor = (parts) => new GpuTensor(parts);
    printContents(GpuTensor.prototype, "GpuTensor", (tensor) => {
      const { dtype } = tensor;
      const isDisposed = tensor.#handle === 0 || tensor.#native.closed;
      return { dtype, length: tensor.#length, ...(isDisposed ? { disposed: true } : {}) };
    });
    Object.freeze(GpuTensor.prototype); // nothing can fake another length
    placeOf = (tensor) => ({ native: tensor.#native, handle: tensor.#open() });
  }

  private constructor({ native, length, name, handle, dtype }: Parts<D>) {
    this.dtype = name;
    this.#native = native;
    this.#length = length;
    this.#handle = handle;
    registerDeviceTensor(this, dtype);
    forgotten.register(this, () => native.free(handle), this);
    Object.freeze(this);
  }

  /**
   * The number of elements.
   *
   * @throws {TypeError} If the tensor or its GPU has been disposed.
   */
  get length(): number {
    this.#open();
    return this.#length;
  }

  /** Bytes of all elements. */
  get byteLength(): number {
    return this.#length * FORMATS[this.dtype].bytes;
  }

  /**
   * Reads all elements as they are after all work that has been queued, without blocking the event
   * loop.
   *
   * @throws {TypeError} If the tensor or its GPU has been disposed.
   * @throws {Error} If something went wrong on the device.
   */
  async read(): Promise<GpuArrays[D]> {
    const handle = this.#open();
    const out = FORMATS[this.dtype].array(this.#length);
    await this.#native.read(handle, out);
    return out as GpuArrays[D];
  }

  /**
   * Reads all elements and blocks until they are there.
   *
   * @param out The array that receives them; a new one by default.
   * @throws {TypeError} If `out` is of another dtype, or the tensor or its GPU has been disposed.
   * @throws {RangeError} If `out` has another length.
   * @throws {Error} If something went wrong on the device.
   */
  readSync(out?: GpuArrays[D]): GpuArrays[D] {
    const handle = this.#open();
    const array = out ?? FORMATS[this.dtype].array(this.#length) as GpuArrays[D];
    this.#checkArray(array, "read into");
    this.#native.readSync(handle, array);
    return array;
  }

  /**
   * Writes all elements. The array is copied before this returns.
   *
   * @throws {TypeError} If it is of another dtype, or the tensor or its GPU has been disposed.
   * @throws {RangeError} If it has another length.
   */
  write(array: Float32Array | Float16Array): void {
    const handle = this.#open();
    this.#checkArray(array, "write");
    this.#native.write(handle, array);
  }

  /**
   * Frees the memory. The tensor cannot be used any more; queued work can still read and write it.
   */
  [Symbol.dispose](): void {
    if (this.#handle === 0) return;
    forgotten.unregister(this);
    this.#native.free(this.#handle);
    this.#handle = 0;
  }

  #open(): number {
    if (this.#handle === 0) throw new TypeError(cannot("use the tensor", "it has been disposed"));
    if (this.#native.closed) {
      throw new TypeError(cannot("use the tensor", "its GPU has been disposed"));
    }
    return this.#handle;
  }

  #checkArray(array: unknown, doing: string): void {
    if (arrayDtype(array, `${doing} the array`) !== this.dtype) {
      throw wrongType(`${doing} the array`, `it must be ${this.dtype}, like the tensor`, array);
    }
    const length = lengthOf(array);
    if (length !== this.#length) {
      const reason = `its length must be ${this.#length}, like the tensor's`;
      throw new RangeError(refusal(`${doing} the array`, reason, length, "length"));
    }
  }
}
