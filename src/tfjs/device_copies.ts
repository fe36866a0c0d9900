/**
 * Steps variables on the backend `webgpu` of tfjs, by public API alone. A variable moves to a buffer that
 * Descent knows, and gradients are copied on the device.
 */

import type { AdoptedGpu } from "../webgpu/adopt.ts";
import type { WebGpuTensor } from "../webgpu/tensor.ts";
import type { Tf, TfBackend, TfTensor } from "./api.ts";
import { adoptBackend, copyOnDevice, copyToDevice } from "./device.ts";
import type { DeviceCopy } from "./device.ts";
import { replace, sizeOf, valuesOf } from "./memory.ts";
import type { Bound, Memory } from "./memory.ts";

/** Variables in known buffers, and copies of gradients. */
export class DeviceCopies implements Memory {
  readonly #tf: Tf;
  readonly #gpu: AdoptedGpu;
  /** The buffers that variables are in, with the tensors of tfjs that own them. */
  readonly #owners = new Map<Bound, DeviceCopy>();
  /** Where gradients go that come in arrays. */
  readonly #uploads = new Map<Bound, WebGpuTensor>();
  /** Owners of buffers that variables have left, and what clones in them have as memory. */
  #left: { readonly tensorRef: TfTensor; readonly dataId: object }[] = [];
  /** The gradients of a step. */
  #copies: TfTensor[] = [];

  constructor(tf: Tf) {
    this.#tf = tf;
    this.#gpu = adoptBackend(tf);
  }

  fits(backend: string): boolean {
    return backend === "webgpu";
  }

  open(bounds: readonly Bound[]): void {
    const backend = this.#tf.backend() as TfBackend;
    for (const bound of bounds) {
      const { variable } = bound;
      if (variable.isDisposed) {
        if (bound.dataId !== null) this.#leave(bound);
      } else if (bound.dataId !== variable.dataId || backend.refCount(variable.dataId) > 1) {
        this.#take(bound);
      }
    }
    this.#sweep();
  }

  readGradients(gradients: ReadonlyMap<Bound, TfTensor>): void {
    for (const [bound, gradient] of gradients) {
      const copy = copyOnDevice(gradient);
      if (copy !== null) this.#copies.push(copy.tensorRef);
      bound.parameter.grad = copy === null
        ? this.#upload(bound, valuesOf(gradient))
        : this.#gpu.tensor(copy.buffer, { length: sizeOf(gradient) });
    }
    // A copy has submitted what tfjs has queued, which has to come before the step.
    const [first] = gradients.keys();
    if (this.#copies.length === 0 && first !== undefined) {
      copyOnDevice(first.variable)?.tensorRef.dispose();
    }
  }

  publish(stepped: readonly Bound[]): void {
    for (const bound of stepped) this.#show(bound);
  }

  finish(): void {
    this.#tf.dispose(this.#copies);
    this.#copies = [];
  }

  release(bounds: readonly Bound[]): void {
    for (const bound of bounds) {
      const owner = this.#owners.get(bound);
      if (owner !== undefined && bound.dataId === bound.variable.dataId) {
        bound.variable.assign(owner.tensorRef);
      }
      this.#leave(bound);
    }
    this.#sweep();
  }

  /** Moves a variable to a buffer of its own. */
  #take(bound: Bound): void {
    const { variable, parameter } = bound;
    const copy = copyToDevice(this.#tf, this.#gpu, variable);
    this.#disown(bound);
    this.#tf.keep(copy.tensorRef);
    this.#owners.set(bound, copy);
    parameter.data = this.#gpu.tensor(copy.buffer, { length: sizeOf(variable) });
    this.#show(bound);
  }

  /** Gives a variable a new tensor of its buffer: tfjs may have an older one's values in an array. */
  #show(bound: Bound): void {
    const { variable } = bound;
    const { buffer } = this.#owners.get(bound)!;
    replace(variable, this.#tf.tensor({ buffer, zeroCopy: true }, variable.shape, "float32"));
    bound.dataId = variable.dataId;
  }

  #upload(bound: Bound, values: Float32Array): WebGpuTensor {
    let upload = this.#uploads.get(bound);
    if (upload?.length !== values.length) {
      upload?.[Symbol.dispose]();
      this.#uploads.set(bound, upload = this.#gpu.tensor(values.length));
    }
    upload.write(values);
    return upload;
  }

  #disown(bound: Bound): void {
    const owner = this.#owners.get(bound);
    if (owner === undefined) return;
    this.#owners.delete(bound);
    this.#left.push({ tensorRef: owner.tensorRef, dataId: bound.dataId! });
  }

  /** Gives buffers back that no tensor is in: clones of variables share them. */
  #sweep(): void {
    const backend = this.#tf.backend() as TfBackend;
    this.#left = this.#left.filter(({ tensorRef, dataId }) => {
      if (backend.refCount(dataId) > 0) return true;
      tensorRef.dispose();
      return false;
    });
  }

  #leave(bound: Bound): void {
    this.#disown(bound);
    this.#uploads.get(bound)?.[Symbol.dispose]();
    this.#uploads.delete(bound);
    bound.parameter.data = this.#gpu.tensor(sizeOf(bound.variable));
    bound.dataId = null;
  }
}
