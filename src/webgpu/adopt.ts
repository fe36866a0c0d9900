/** Adopts a device of the user's, and makes tensors in its buffers. */

import { DEVICE } from "../plan/layout.ts";
import type { Device, ElementType } from "../core/dtype.ts";
import { arrayDtype } from "../core/gpu_dtype.ts";
import type { GpuDtype } from "../core/gpu_dtype.ts";
import { lengthOf } from "../core/intrinsics.ts";
import {
  checkKnown,
  checkNumber,
  checkObject,
  outOfRange,
  refusal,
  WHOLE,
  wrongType,
} from "../core/validate.ts";
import type { Buffer, Gpu, WebGpuBuffer, WebGpuDevice } from "./api.ts";
import { USAGE } from "./api.ts";
import { arena } from "./arena.ts";
import type { Cuts } from "./chunks.ts";
import { Context } from "./context.ts";
import { createDevice } from "./device.ts";
import { addressOf, createTensor } from "./tensor.ts";
import type { WebGpuTensor } from "./tensor.ts";

/**
 * Which part of a buffer a tensor is.
 *
 * @category WebGPU
 */
export interface TensorRange<D extends GpuDtype = GpuDtype> {
  /** The first element. @default {0} */
  offset?: number;
  /** The number of elements. @default {all that follow} */
  length?: number;
  /** The type of the elements. @default {"float32"} */
  dtype?: D;
}

const BYTES = { float32: 4, float16: 2 } as const;

/** How many numbers of dtypes a device has, as those of the native library. */
const DTYPES = 4;

/** The number of the next device: they count downwards, those of the native library upwards. */
let nextNumber = (2 ** 16 - DEVICE) / DTYPES - 1;

const adopted = new WeakMap<WebGpuDevice, AdoptedGpu>();

/** Adopts a device anew, and cuts tensors as a test chooses. */
export let adoptTuned: (device: WebGpuDevice, tuning: Partial<Cuts>) => AdoptedGpu;

/**
 * Lets optimizers step tensors in the buffers of a `GPUDevice`: your own, or one that jax-js,
 * TensorFlow.js, ONNX Runtime Web or TypeGPU computes on. No native library is needed.
 *
 * Steps are submitted to the queue of the device, behind what is there. The device stays yours: Descent
 * never destroys it, nor a buffer that it has not made.
 *
 * @param device The device. Adopting it again returns the same object.
 * @throws {TypeError} If it is not a device.
 *
 * @example
 * ```ts ignore
 * import { SGD } from "@descent/sgd";
 * import { adoptDevice } from "@descent/sgd/webgpu";
 *
 * const adapter = await navigator.gpu.requestAdapter();
 * const device = await adapter!.requestDevice();
 * const gpu = adoptDevice(device);
 * const w = gpu.tensor(new Float32Array([1, 2]));
 * const g = gpu.tensor(new Float32Array([0.5, -0.5]));
 * const optimizer = new SGD([{ data: w, grad: g }], { lr: 0.1, momentum: 0.9 });
 * optimizer.step();
 * console.log(await w.read()); // Float32Array(2) [ 0.95, 2.05 ]
 * ```
 *
 * @category WebGPU
 */
export function adoptDevice<B extends WebGpuBuffer>(device: WebGpuDevice<B>): AdoptedGpu<B> {
  checkDevice(device);
  let gpu = adopted.get(device);
  if (gpu === undefined) adopted.set(device, gpu = adoptTuned(device, {}));
  return gpu as AdoptedGpu<WebGpuBuffer> as AdoptedGpu<B>;
}

function checkDevice(device: unknown): void {
  const { createBuffer, queue, limits } = (device ?? {}) as Partial<WebGpuDevice>;
  if (typeof createBuffer === "function" && queue !== undefined && limits !== undefined) return;
  throw wrongType("adopt the device", "it must be a GPUDevice", device);
}

/**
 * A device that Descent steps on: `adoptDevice` makes it.
 *
 * @category WebGPU
 */
export class AdoptedGpu<B extends WebGpuBuffer = WebGpuBuffer> {
  readonly #context: Context;
  readonly #device: Device;
  readonly #types: Readonly<Record<GpuDtype, ElementType>>;

  static {
    adoptTuned = (device, tuning) => new AdoptedGpu(device as Gpu, tuning);
  }

  private constructor(gpu: Gpu, tuning: Partial<Cuts>) {
    this.#context = new Context(gpu, tuning);
    const first = DEVICE + DTYPES * nextNumber--;
    const codes = { float32: first, float16: first + 1 };
    this.#device = createDevice(this.#context, codes);
    const type = (name: GpuDtype): ElementType => ({
      ...{ name, device: this.#device, code: codes[name], bytes: BYTES[name] },
      zeros: (length) => this.#zeros([length], name)[0],
      zerosAll: (lengths) => this.#zeros(lengths, name),
    });
    this.#types = { float32: type("float32"), float16: type("float16") };
  }

  /** Whether tensors can be float16: the device must have the feature `shader-f16`. */
  get float16(): boolean {
    return this.#context.gpu.features.has("shader-f16");
  }

  /**
   * Makes a tensor of an array's elements, which are copied into a new buffer.
   *
   * @throws {TypeError} If it is float64, or float16 where the device does not have it.
   * @throws {RangeError} If it does not fit into a buffer of the device.
   * @throws {Error} If the device is known to be lost.
   */
  tensor(content: Float32Array): WebGpuTensor<"float32", B>;
  /** As above, of float16. */
  tensor(content: Float16Array): WebGpuTensor<"float16", B>;
  /** As above, of zeros. */
  tensor<D extends GpuDtype = "float32">(
    length: number,
    options?: { dtype?: D },
  ): WebGpuTensor<D, B>;
  /**
   * Makes a tensor of a buffer of yours, or of a range of it.
   *
   * @param buffer The buffer. It needs the usage STORAGE; `read` needs COPY_SRC, and `write` and
   * `loadStateDict` COPY_DST.
   * @param range Which part of it, in elements.
   * @throws {TypeError} If it is not a buffer, lacks STORAGE, or is to be float16 where the device does not
   * have it.
   * @throws {RangeError} If the range does not fit into the buffer.
   */
  tensor<D extends GpuDtype = "float32">(buffer: B, range?: TensorRange<D>): WebGpuTensor<D, B>;
  tensor(
    content: Float32Array | Float16Array | number | B,
    range: TensorRange = {},
  ): WebGpuTensor<GpuDtype, B> {
    this.#context.failures.checkThere("make a tensor");
    checkObject("set options", range, "it");
    if (isBuffer(content)) return this.#view(content as WebGpuBuffer as Buffer, range);
    checkKnown(range, typeof content === "number" ? ["dtype"] : []);
    if (typeof content === "number") {
      checkNumber("length", content, WHOLE);
      return this.#create(content, range.dtype ?? "float32");
    }
    if (!ArrayBuffer.isView(content)) {
      const kinds = "a GPUBuffer, an array or a length";
      throw wrongType("make a tensor", `it must be ${kinds}`, content);
    }
    const tensor = this.#create(lengthOf(content), arrayDtype(content, "make a tensor"));
    tensor.write(content as Float32Array);
    return tensor;
  }

  /**
   * Waits until all queued work has been done.
   *
   * @throws {Error} If the device is lost, or has refused some of the work so far.
   */
  async synchronize(): Promise<void> {
    await this.#device.synchronize();
  }

  #create(length: number, dtype: GpuDtype): WebGpuTensor<GpuDtype, B> {
    this.#checkDtype(dtype);
    const bytes = length * BYTES[dtype];
    const most = this.#context.gpu.limits.maxBufferSize;
    if (bytes > most) {
      const reason = `its length must be at most ${most / BYTES[dtype]} on this device`;
      throw outOfRange("make a tensor", reason, length);
    }
    return this.#place([length], dtype)[0];
  }

  /** Momentum buffers, in as few buffers as there can be. */
  #zeros(lengths: readonly number[], dtype: GpuDtype): WebGpuTensor<GpuDtype, B>[] {
    const tensors = this.#place(lengths, dtype);
    for (const tensor of tensors) this.#context.started.watch(tensor, addressOf(tensor));
    return tensors;
  }

  #place(lengths: readonly number[], dtype: GpuDtype): WebGpuTensor<GpuDtype, B>[] {
    const context = this.#context;
    return arena(context, lengths.map((length) => length * BYTES[dtype])).map(
      ({ buffer, offset, free }, i) =>
        createTensor<GpuDtype, B>({
          ...{ context, dtype, type: this.#types[dtype], buffer, free },
          ...{ offset: offset / BYTES[dtype], length: lengths[i] },
        }),
    );
  }

  #view(buffer: Buffer, range: TensorRange): WebGpuTensor<GpuDtype, B> {
    checkKnown(range, ["offset", "length", "dtype"]);
    const { offset = 0, dtype = "float32" } = range;
    this.#checkDtype(dtype);
    checkBuffer(buffer);
    checkNumber("offset", offset, WHOLE);
    const room = Math.floor(buffer.size / BYTES[dtype]) - offset;
    const { length = Math.max(0, room) } = range;
    checkNumber("length", length, WHOLE);
    if (length > room || room < 0) {
      const reason = `offset and length must be within the ${room + offset} elements of the buffer`;
      const shown = `${offset} and ${length}`;
      throw new RangeError(refusal("make a tensor", reason, shown, "values"));
    }
    const parts = { dtype, type: this.#types[dtype], buffer, offset, length, free: null };
    return createTensor<GpuDtype, B>({ context: this.#context, ...parts });
  }

  #checkDtype(name: string): void {
    const names = this.float16 ? "float32 or float16" : "float32 on a device without shader-f16";
    if (name === "float32" || (name === "float16" && this.float16)) return;
    throw new TypeError(refusal("make a tensor", `its dtype must be ${names}`, name));
  }
}

function isBuffer(value: unknown): boolean {
  const { size, usage, mapAsync } = (value ?? {}) as Partial<Buffer>;
  return typeof size === "number" && typeof usage === "number" && typeof mapAsync === "function";
}

function checkBuffer({ usage, size }: Buffer): void {
  if ((usage & USAGE.STORAGE) === 0) {
    const reason = "its buffer must have the usage GPUBufferUsage.STORAGE";
    throw new TypeError(refusal("make a tensor", reason, usage, "usage"));
  }
  if (size % 4 !== 0) {
    const reason = "the size of its buffer must be a multiple of 4 bytes";
    throw new RangeError(refusal("make a tensor", reason, size, "size"));
  }
}
