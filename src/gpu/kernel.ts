/** The user's own shaders. */

import type { NativeGpu, NativeView } from "./device.ts";
import { cannot, describe, refusal, wrongType } from "../core/validate.ts";
import type { GpuDtype } from "../core/gpu_dtype.ts";
import { GpuTensor, placeOf } from "./tensor.ts";

/**
 * A range of a tensor, as a kernel sees it: from a multiple of the offset alignment on.
 *
 * @category GPU
 */
export interface GpuView {
  /** The tensor. */
  readonly tensor: GpuTensor<GpuDtype>;
  /** The first element. @default {0} */
  readonly offset?: number;
  /** The number of elements. @default {the rest of the tensor} */
  readonly length?: number;
}

/** What a kernel is made of. */
interface Parts {
  readonly native: NativeGpu;
  readonly number: number;
  /** Workgroups in each dimension of a dispatch. */
  readonly maxWorkgroups: number;
}

/** Makes a kernel. */
export let createKernel: (parts: Parts) => GpuKernel;

/** Frees kernels that are garbage-collected without having been disposed. */
const forgotten = new FinalizationRegistry<() => void>((free) => free());

/**
 * A compiled shader. `gpu.kernel` makes it.
 *
 * @category GPU
 */
export class GpuKernel {
  readonly #native: NativeGpu;
  readonly #maxWorkgroups: number;
  #number: number;

  static {
    createKernel = (parts) => new GpuKernel(parts);
  }

  private constructor({ native, number, maxWorkgroups }: Parts) {
    this.#native = native;
    this.#number = number;
    this.#maxWorkgroups = maxWorkgroups;
    forgotten.register(this, () => native.freeKernel(number), this);
  }

  /**
   * Queues the shader.
   *
   * @param tensors One tensor per binding, or a range of one.
   * @param workgroups The number of workgroups in each dimension; those left out are 1.
   * @throws {TypeError} If something is not a tensor of this GPU, or has been disposed.
   * @throws {RangeError} If a number of workgroups or a range is not valid.
   * @throws {Error} If the tensors do not fit the shader's bindings.
   */
  dispatch(
    tensors: readonly (GpuTensor<GpuDtype> | GpuView)[],
    workgroups: readonly [x: number, y?: number, z?: number],
  ): void {
    if (this.#number === 0) throw new TypeError(cannot("use the kernel", "it has been disposed"));
    if (this.#native.closed) {
      throw new TypeError(cannot("use the kernel", "its GPU has been disposed"));
    }
    const [x, y = 1, z = 1] = workgroups;
    for (const count of [x, y, z]) this.#checkWorkgroups(count);
    const views = tensors.map((value, i) => this.#view(value, i));
    this.#native.dispatch(this.#number, views, [x, y, z]);
  }

  /** Frees the shader. Queued work still runs. */
  [Symbol.dispose](): void {
    if (this.#number === 0) return;
    forgotten.unregister(this);
    this.#native.freeKernel(this.#number);
    this.#number = 0;
  }

  #checkWorkgroups(count: unknown): void {
    if (Number.isInteger(count) && count as number >= 0 && count as number <= this.#maxWorkgroups) {
      return;
    }
    const reason = `workgroups must be whole numbers from 0 to ${this.#maxWorkgroups}`;
    throw new RangeError(refusal("dispatch", reason, describe(count)));
  }

  #view(value: unknown, index: number): NativeView {
    const view = (value instanceof GpuTensor ? { tensor: value } : value ?? {}) as GpuView;
    const { tensor, offset = 0 } = view;
    if (!(tensor instanceof GpuTensor)) {
      throw wrongType("dispatch", `tensor ${index} must be a GpuTensor or a range of one`, value);
    }
    const { native, handle } = placeOf(tensor);
    if (native !== this.#native) {
      throw new TypeError(
        cannot("dispatch", `tensor ${index} must be on the kernel's GPU`, "it is on another one"),
      );
    }
    const count = tensor.length;
    const { length = count - offset } = view;
    if (!isRange(offset, length, count)) {
      throw new RangeError(
        cannot(
          "dispatch",
          `tensor ${index} must be a range of its ${count} elements, and not empty`,
          `its offset is ${offset} and its length ${length}`,
        ),
      );
    }
    return { handle, offset, length };
  }
}

function isRange(offset: number, length: number, most: number): boolean {
  return Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length > 0 &&
    offset + length <= most;
}
