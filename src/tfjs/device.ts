/** The backend `webgpu` of tfjs: its device, and buffers on it. */

import { adoptDevice } from "../webgpu/adopt.ts";
import type { AdoptedGpu } from "../webgpu/adopt.ts";
import { USAGE } from "../webgpu/api.ts";
import type { Buffer, WebGpuBuffer, WebGpuDevice } from "../webgpu/api.ts";
import type { Tf, TfTensor } from "./api.ts";
import { valuesOf } from "./memory.ts";

/** A copy on the device: its buffer, and the tensor that owns it. */
export interface DeviceCopy {
  readonly buffer: WebGpuBuffer;
  readonly tensorRef: TfTensor;
}

/** Adopts the device of tfjs. */
export function adoptBackend(tf: Tf): AdoptedGpu {
  return adoptDevice((tf.backend() as { device: WebGpuDevice }).device);
}

/** Copies a tensor on the device, and submits what tfjs had queued; null if its values are elsewhere. */
export function copyOnDevice(tensor: TfTensor): DeviceCopy | null {
  try {
    return tensor.dataToGPU() as DeviceCopy;
  } catch (error) {
    // The values of new and of small tensors, and of other backends, are in arrays; errors say so.
    if (error instanceof Error && /not on GPU|readToGPU/.test(error.message)) return null;
    throw error;
  }
}

/** Copies a tensor to a buffer of tfjs, wherever it is. */
export function copyToDevice(tf: Tf, gpu: AdoptedGpu, tensor: TfTensor): DeviceCopy {
  const copy = copyOnDevice(tensor);
  if (copy !== null) return copy;
  const values = valuesOf(tensor);
  const buffer = createBuffer(tf, values.byteLength);
  gpu.tensor(buffer, { length: values.length }).write(values);
  const own = tf.tensor({ buffer }, tensor.shape, "float32"); // copied by tfjs
  try {
    return own.dataToGPU() as DeviceCopy;
  } finally {
    own.dispose();
    buffer.destroy();
  }
}

/** A buffer of the very size of a tensor: tfjs takes all of a buffer for values. */
function createBuffer(tf: Tf, size: number): Buffer {
  const { device } = tf.backend() as { device: WebGpuDevice<Buffer> };
  return device.createBuffer({ size, usage: USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST });
}
