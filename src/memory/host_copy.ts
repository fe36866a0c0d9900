/** Elements of tensors, wherever they lie, as arrays of JavaScript's. */

import { deviceOf, dtypeOf, elementTypeOf } from "../core/dtype.ts";
import type { DeviceTensor, Dtype, ElementType, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { copyOf, setAll } from "../core/intrinsics.ts";
import { cannot } from "../core/validate.ts";

/** The dtype of a tensor's copies on the host: float16 is widened to float32, which is exact. */
export function hostDtypeOf(tensor: unknown, what: string): Dtype {
  return dtypeOf(deviceOf(tensor) === undefined ? tensor : new Float32Array(0), what);
}

/**
 * A copy of all elements. A tensor on a device is waited for.
 *
 * @throws {TypeError} If its device cannot block.
 */
export function copyToHost(tensor: Tensor): HostArray {
  if (deviceOf(tensor) === undefined) return copyOf(tensor as HostArray);
  const elements = (tensor as DeviceTensor).readSync?.();
  if (elements === undefined) throw cannotBlock();
  return elements instanceof Float32Array ? elements : new Float32Array(elements);
}

/** The error where a state is taken without an await, of a device that cannot block. */
export function cannotBlock(): TypeError {
  const reason = "reading WebGPU needs an await";
  return new TypeError(cannot("take the state", reason, "use stateDictAsync"));
}

/** Copies of tensors on devices, which are complete later. */
export class HostCopies {
  readonly #reads: Promise<void>[] = [];

  /** The copy of a tensor as it is after all work that is queued. */
  copy(tensor: DeviceTensor): HostArray {
    const copy = new Float32Array(tensor.length);
    const read = tensor.read().then((elements) => copy.set(elements));
    read.catch(() => {}); // `complete` rejects, if it comes to that
    this.#reads.push(read);
    return copy;
  }

  /** Waits until all copies are complete. */
  async complete(): Promise<void> {
    await Promise.all(this.#reads);
  }
}

/** Replaces all elements, in place. The values have the length and `hostDtypeOf` of the tensor. */
export function copyFromHost(tensor: Tensor, values: HostArray): void {
  if (deviceOf(tensor) === undefined) {
    setAll(tensor as HostArray, values);
    return;
  }
  const half = elementTypeOf(tensor, "the tensor").name === "float16";
  (tensor as DeviceTensor).write(half ? new Float16Array(values) : values as Float32Array);
}

/** The type that values are stored in beside `data`: their own, or on a device that of the data. */
export function storedType(data: Tensor, values: HostArray): ElementType {
  return deviceOf(data) === undefined
    ? dtypeOf(values, "the values")
    : elementTypeOf(data, "the data");
}
