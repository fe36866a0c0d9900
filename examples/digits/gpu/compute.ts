/** What the network needs of a GPU, whichever way it is opened. */

import type { DeviceTensor } from "@descent/sgd";

/** A float32 tensor of the device. */
export interface ComputeTensor extends DeviceTensor {
  read(): Promise<Float32Array<ArrayBuffer>>;
}

/** A range of a tensor, as a shader sees it. */
export interface View<T> {
  readonly tensor: T;
  /** The first element; a multiple of the device's alignment. @default {0} */
  readonly offset?: number;
  readonly length: number;
}

/** Queues a shader over tensors, which are its bindings in their order. */
export type Dispatch<T> = (tensors: readonly (T | View<T>)[], workgroups: number) => void;

/** A device that makes tensors and compiles shaders. */
export interface Compute<T extends ComputeTensor> {
  /** What offsets of views are multiples of, in bytes. */
  readonly offsetAlignment: number;
  /** Makes a tensor of values, or of zeros. */
  tensor(content: Float32Array | number): T;
  /** Compiles a shader whose entry point is `main`. */
  kernel(code: string): Dispatch<T>;
}
