/** Steps in the memory that tfjs has its variables in, on its backends `cpu` and `wasm`. */

import type { Tf, TfBackend, TfTensor } from "./api.ts";
import type { Bound, Memory } from "./memory.ts";
import { replace, sizeOf } from "./memory.ts";

/** How the memory of one backend is seen. */
export interface Viewer {
  /** The name of the backend. */
  readonly backend: string;
  /** The values of a tensor, in its own memory. */
  view(tensor: TfTensor): Float32Array;
  /** Tells the backend that it wrote into the memory of a tensor. */
  refresh(tensor: TfTensor): void;
}

/** Views of the memory of variables and gradients. */
export class HostViews implements Memory {
  readonly #tf: Tf;
  readonly #viewer: Viewer;
  /** The memories of all variables. */
  #variables = new Set<object>();

  constructor(tf: Tf, viewer: Viewer) {
    this.#tf = tf;
    this.#viewer = viewer;
  }

  fits(backend: string): boolean {
    return backend === this.#viewer.backend;
  }

  open(bounds: readonly Bound[]): void {
    const usable = bounds.filter((bound) => !this.#leave(bound));
    for (const { variable } of usable) this.#separate(variable);
    // WebAssembly's memory may have grown for the copies, which detaches older views.
    for (const bound of usable) {
      const { variable, parameter } = bound;
      if (bound.dataId === variable.dataId && parameter.data.length > 0) continue;
      parameter.data = this.#viewer.view(variable);
      bound.dataId = variable.dataId;
    }
    this.#variables = new Set(usable.map(({ variable }) => variable.dataId));
  }

  readGradients(gradients: ReadonlyMap<Bound, TfTensor>): void {
    for (const [{ parameter }, gradient] of gradients) {
      parameter.grad = this.#variables.has(gradient.dataId)
        ? (gradient.dataSync() as Float32Array).slice() // the step writes to that memory
        : this.#viewer.view(gradient);
    }
  }

  publish(stepped: readonly Bound[]): void {
    for (const { variable } of stepped) this.#viewer.refresh(variable);
  }

  finish(): void {}

  release(): void {}

  /** Lets go of the memory of a variable that has been disposed. */
  #leave(bound: Bound): boolean {
    if (!bound.variable.isDisposed) return false;
    if (bound.dataId !== null) bound.parameter.data = new Float32Array(sizeOf(bound.variable));
    bound.dataId = null;
    return true;
  }

  /** Gives a variable a memory of its own, if a clone of it would see what is written. */
  #separate(variable: Bound["variable"]): void {
    const backend = this.#tf.backend() as TfBackend;
    if (backend.refCount(variable.dataId) <= 1) return;
    const values = (variable.dataSync() as Float32Array).slice();
    replace(variable, this.#tf.tensor(values, variable.shape, "float32"));
  }
}
