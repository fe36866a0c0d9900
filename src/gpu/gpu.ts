/** Opens a GPU, and makes its tensors and kernels. */

import type { DeviceRequest } from "../core/device.ts";
import type { Device, DeviceTensor, ElementType } from "../core/dtype.ts";
import { arrayDtype } from "../core/gpu_dtype.ts";
import type { GpuDtype } from "../core/gpu_dtype.ts";
import { lengthOf } from "../core/intrinsics.ts";
import {
  cannot,
  checkKnown,
  checkObject,
  checkString,
  checkWord,
  outOfRange,
  refusal,
} from "../core/validate.ts";
import { NativeGpu } from "./device.ts";
import { FORMATS } from "./dtype.ts";
import { readInfo } from "./info.ts";
import type { GpuInfo } from "./info.ts";
import { createKernel } from "./kernel.ts";
import type { GpuKernel } from "./kernel.ts";
import { createTensor, placeOf } from "./tensor.ts";
import type { GpuTensor } from "./tensor.ts";

/**
 * The options of `openGpu`.
 *
 * @category GPU
 */
export interface GpuOptions {
  /** Part of the adapter's name, in any case of letters. @default {""} */
  adapter?: string;
  /** Which adapter to take where there are several. @default {"high-performance"} */
  powerPreference?: "high-performance" | "low-power";
}

/**
 * Bytes on a GPU, and bytes that have crossed the bus since it was opened.
 *
 * @category GPU
 */
export interface GpuMemory {
  /** Bytes that are allocated on the device for tensors, free ranges included. */
  readonly allocated: number;
  /** Bytes sent to the device: tensors and tables. */
  readonly toDevice: number;
  /** Bytes read from the device. */
  readonly toHost: number;
}

/** Sizes that only tests choose; 0 stands for what the adapter has. */
export interface Tuning {
  /** Bytes of the largest block of memory. */
  readonly maxBlockBytes?: number;
  /** Elements that a workgroup takes at a time. */
  readonly chunkElements?: number;
}

/** The most elements of a tensor, 1 TiB: some drivers claim to allocate more than they have. */
const MAX_LENGTH = 2 ** 38;

/** Opens a GPU with sizes that a test chooses. */
export let openTuned: (options: GpuOptions, tuning: Tuning) => Gpu;

/** The open device of a GPU. */
export let nativeOf: (gpu: Gpu) => NativeGpu;

/** Closes GPUs that are garbage-collected without having been disposed. */
const forgotten = new FinalizationRegistry<NativeGpu>((native) => native.close());

/**
 * Opens a GPU. Work is queued in the order of the calls, which return immediately; only reading
 * waits.
 *
 * @throws {GpuUnavailableError} If no adapter fits, or the native library is not installed; the message
 * names the adapters that were seen, or what to install.
 * @throws {TypeError} If an option is of another type, or does not exist.
 *
 * @example
 * ```ts ignore
 * import { SGD } from "@descent/sgd";
 * import { openGpu } from "@descent/sgd/gpu";
 *
 * using gpu = openGpu();
 * const w = gpu.tensor(new Float32Array([1, 2]));
 * const g = gpu.tensor(new Float32Array([0.5, -0.5]));
 * const optimizer = new SGD([{ data: w, grad: g }], { lr: 0.1, momentum: 0.9 });
 * optimizer.step();
 * console.log(await w.read()); // Float32Array(2) [ 0.95, 2.05 ]
 * ```
 *
 * @category GPU
 */
export function openGpu(options: GpuOptions = {}): Gpu {
  return openTuned(options, {});
}

/**
 * An open GPU: `openGpu` makes it.
 *
 * @category GPU
 */
export class Gpu {
  /** The adapter's properties and limits. */
  readonly info: GpuInfo;
  readonly #native: NativeGpu;
  readonly #dtypes: Readonly<Record<GpuDtype, ElementType>>;

  static {
    openTuned = (options, tuning) => new Gpu(options, tuning);
    nativeOf = (gpu) => gpu.#open();
  }

  private constructor(options: GpuOptions, tuning: Tuning) {
    const { adapter = "", powerPreference = "high-performance" } = readGpuOptions(options);
    this.#native = new NativeGpu({
      adapter,
      lowPower: powerPreference === "low-power",
      maxBlockBytes: tuning.maxBlockBytes ?? 0,
      chunkElements: tuning.chunkElements ?? 0,
    });
    this.info = readInfo(this.#native.info());
    const device = createDevice(this.#native);
    const dtype = (name: GpuDtype): ElementType => ({
      ...{ name, device, bytes: FORMATS[name].bytes },
      code: this.#native.tableDtype(FORMATS[name].code),
      zeros: (length) => this.tensor(length, { dtype: name }),
    });
    this.#dtypes = { float32: dtype("float32"), float16: dtype("float16") };
    forgotten.register(this, this.#native, this);
  }

  /**
   * Makes a tensor of an array's elements, or of zeros.
   *
   * @param content The elements, which are copied, or the number of elements.
   * @throws {TypeError} If it is float64, or float16 where the adapter does not have it.
   * @throws {RangeError} If the number is not whole or too large, or the device has no memory left.
   */
  tensor(content: Float32Array): GpuTensor<"float32">;
  /** As above, of float16. */
  tensor(content: Float16Array): GpuTensor<"float16">;
  /** As above, of zeros; the dtype is float32 if it is left out. */
  tensor<D extends GpuDtype = "float32">(length: number, options?: { dtype?: D }): GpuTensor<D>;
  tensor(
    content: Float32Array | Float16Array | number,
    { dtype = "float32" }: { dtype?: GpuDtype } = {},
  ): GpuTensor<GpuDtype> {
    if (typeof content === "number") return this.#create(content, dtype, true);
    const name = arrayDtype(content, "make a tensor");
    const tensor = this.#create(lengthOf(content), name, false);
    tensor.write(content);
    return tensor;
  }

  /**
   * Compiles a shader of your own.
   *
   * Its bindings are tensors: `@group(0) @binding(i) var<storage, read_write> name: array<f32>` is
   * the i-th of a dispatch. Tensors share blocks of memory, and so bindings that are only `read`
   * are opened for writing as well, which changes nothing for the shader.
   *
   * @param options The WGSL text and the name of its entry point.
   * @throws {TypeError} If one of them is not a string.
   * @throws {Error} If the shader does not compile; the message is wgpu's, with line and column.
   */
  kernel(options: { code: string; entryPoint: string }): GpuKernel {
    const native = this.#open();
    const { code, entryPoint } = options;
    for (const [name, value] of Object.entries({ code, entryPoint })) {
      checkString(`set ${name}`, value);
    }
    const { maxWorkgroups } = this.info.limits;
    return createKernel({ native, number: native.kernel(code, entryPoint), maxWorkgroups });
  }

  /**
   * Waits until all queued work has been done, without blocking the event loop.
   *
   * @throws {TypeError} If the GPU has been disposed.
   * @throws {Error} If something went wrong on the device.
   */
  async synchronize(): Promise<void> {
    await this.#open().synchronize();
  }

  /** Bytes on the device, and bytes that have crossed the bus since it was opened. */
  get memory(): GpuMemory {
    const [allocated, toDevice, toHost] = this.#open().memory();
    return { allocated, toDevice, toHost };
  }

  /** Closes the device. Its tensors and kernels cannot be used any more. */
  [Symbol.dispose](): void {
    forgotten.unregister(this);
    this.#native.close();
  }

  #create<D extends GpuDtype>(length: number, name: D, zeroed: boolean): GpuTensor<D> {
    const native = this.#open();
    this.#checkDtype(name);
    if (!(Number.isInteger(length) && length >= 0 && length <= MAX_LENGTH)) {
      const reason = `its length must be a whole number from 0 to ${MAX_LENGTH}`;
      throw outOfRange("make a tensor", reason, length);
    }
    const handle = native.tensor(length, FORMATS[name].code, zeroed);
    return createTensor({ native, length, name, handle, dtype: this.#dtypes[name] });
  }

  #checkDtype(name: string): void {
    const names = this.info.float16 ? "float32 or float16" : "float32 on this adapter";
    if (name === "float32" || (name === "float16" && this.info.float16)) return;
    throw new TypeError(refusal("make a tensor on the GPU", `its dtype must be ${names}`, name));
  }

  #open(): NativeGpu {
    if (this.#native.closed) throw new TypeError(cannot("use the GPU", "it has been disposed"));
    return this.#native;
  }
}

function createDevice(native: NativeGpu): Device {
  const handleOf = (tensor: DeviceTensor) => placeOf(tensor as GpuTensor<GpuDtype>).handle;
  let last: { groupCount: number; request: DeviceRequest } | null = null;
  return {
    name: "gpu",
    address: handleOf,
    check: () => native.check(),
    step(tables, request) {
      native.step(tables, request);
      if (request !== null) last = { groupCount: tables.groupCount, request };
    },
    report: () => native.report(last!.groupCount, last!.request),
    written: (buffers) => native.written(buffers.map(handleOf)),
    writtenSync: (buffers) => native.writtenSync(buffers.map(handleOf)),
    zero: (tensors) => native.zero(tensors.map(handleOf)),
    synchronize: () => native.synchronize(),
  };
}

function readGpuOptions(options: unknown): GpuOptions {
  checkObject("set options", options, "it");
  checkKnown(options, ["adapter", "powerPreference"]);
  const { adapter, powerPreference } = options as GpuOptions;
  if (adapter !== undefined) checkString("set adapter", adapter);
  if (powerPreference !== undefined) {
    checkWord("powerPreference", powerPreference, ["high-performance", "low-power"]);
  }
  return options;
}
