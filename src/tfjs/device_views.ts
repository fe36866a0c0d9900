/** Steps in the buffers that tfjs has its variables in, on its backend `webgpu`. */

import type { AdoptedGpu } from "../webgpu/adopt.ts";
import type { WebGpuBuffer } from "../webgpu/api.ts";
import type { Tf, TfBackend, TfTensor } from "./api.ts";
import { adoptBackend, copyToDevice } from "./device.ts";
import { replace, sizeOf } from "./memory.ts";
import type { Bound, Memory } from "./memory.ts";
import { viewError } from "./viewers.ts";

/** What tfjs has of a tensor. */
interface TensorData {
  /** Its buffer, if the values are on the device. */
  readonly resource: WebGpuBuffer | null | undefined;
  /** Its values, if they are in an array too. */
  values: unknown;
}

/** What the adapter uses of the backend `webgpu` that is not public. */
interface WebGpuBackend extends TfBackend {
  readonly tensorMap: { get(dataId: object): TensorData };
  uploadToGPU(dataId: object): void;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** Views of the buffers of variables and gradients. */
export class DeviceViews implements Memory {
  readonly #tf: Tf;
  readonly #gpu: AdoptedGpu;
  readonly #backend: WebGpuBackend;
  /** The memories of all variables. */
  #variables = new Set<object>();
  /** Copies that a step needs. */
  #copies: TfTensor[] = [];

  /** @throws {Error} If this version of tfjs does not have what this needs. */
  constructor(tf: Tf) {
    this.#tf = tf;
    this.#gpu = adoptBackend(tf);
    this.#backend = tf.backend() as WebGpuBackend;
    if (!this.#works()) throw viewError("webgpu");
  }

  fits(backend: string): boolean {
    return backend === "webgpu";
  }

  open(bounds: readonly Bound[]): void {
    this.#variables = new Set();
    for (const bound of bounds) {
      const { variable, parameter } = bound;
      if (variable.isDisposed) {
        if (bound.dataId !== null) this.#leave(bound);
        continue;
      }
      this.#backend.tensorMap.get(variable.dataId); // moves it here from another backend
      if (this.#backend.refCount(variable.dataId) > 1) { // a clone would see what is written
        replace(variable, copyToDevice(this.#tf, this.#gpu, variable).tensorRef);
      }
      this.#variables.add(variable.dataId);
      if (bound.dataId === variable.dataId) continue;
      parameter.data = this.#view(variable);
      bound.dataId = variable.dataId;
    }
  }

  readGradients(gradients: ReadonlyMap<Bound, TfTensor>): void {
    for (const [{ parameter }, gradient] of gradients) {
      parameter.grad = this.#variables.has(gradient.dataId)
        ? this.#copy(gradient) // the step writes to that buffer
        : this.#view(gradient);
    }
    // What tfjs has queued has to come before the step.
    this.#backend.ensureCommandEncoderReady();
    this.#backend.endComputePassEncoder();
    this.#backend.submitQueue();
  }

  publish(stepped: readonly Bound[]): void {
    // Values that tfjs has in an array, because it was asked for them, are those before the step.
    for (const { variable } of stepped) this.#backend.tensorMap.get(variable.dataId).values = null;
  }

  finish(): void {
    this.#tf.dispose(this.#copies);
    this.#copies = [];
  }

  release(): void {}

  #view(tensor: TfTensor) {
    this.#backend.uploadToGPU(tensor.dataId);
    const { resource } = this.#backend.tensorMap.get(tensor.dataId);
    return this.#gpu.tensor(resource!, { length: sizeOf(tensor) });
  }

  #copy(tensor: TfTensor) {
    const { buffer, tensorRef } = copyToDevice(this.#tf, this.#gpu, tensor);
    this.#copies.push(tensorRef);
    return this.#gpu.tensor(buffer, { length: sizeOf(tensor) });
  }

  #leave(bound: Bound): void {
    bound.parameter.data = this.#gpu.tensor(sizeOf(bound.variable));
    bound.dataId = null;
  }

  /** Whether a tensor can be seen in its buffer, and work can be submitted. */
  #works(): boolean {
    const { ensureCommandEncoderReady, endComputePassEncoder, submitQueue } = this.#backend;
    const methods = [ensureCommandEncoderReady, endComputePassEncoder, submitQueue];
    if (methods.some((method) => typeof method !== "function")) return false;
    const probe = this.#tf.tensor(new Float32Array([1]), [1], "float32");
    try {
      return this.#view(probe).length === 1 &&
        this.#backend.tensorMap.get(probe.dataId).values === null;
    } catch (error) {
      if (error instanceof TypeError) return false; // a method or a property is missing
      throw error;
    } finally {
      probe.dispose();
    }
  }
}
