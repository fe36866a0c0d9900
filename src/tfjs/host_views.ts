/** Steps in the memory that tfjs has its variables in, on its backends `cpu` and `wasm`. */

import type { Tf, TfBackend, TfTensor } from "./api.ts";
import type { Bound, Memory } from "./memory.ts";
import { replace, sizeOf, valuesOf } from "./memory.ts";

/** How the memory of one backend is seen. */
export interface Viewer {
  /** The name of the backend. */
  readonly backend: string;
  /** The values of a tensor, in its own memory. */
  view(tensor: TfTensor): Float32Array;
  /** Whether values can be in an array that the user has made a tensor of. */
  readonly hasForeign: boolean;
  /** Whether the backend has the values in a form that can be viewed. */
  isShown(tensor: TfTensor): boolean;
  /** Tells the backend that it wrote into the memory of a tensor. */
  refresh(tensor: TfTensor): void;
}

/** Views of the memory of variables and gradients. */
export class HostViews implements Memory {
  readonly #tf: Tf;
  readonly #viewer: Viewer;
  /** What has a variable that can be used. */
  #usable: readonly Bound[] = [];
  /** The memories of these variables. */
  #variables = new Set<object>();

  constructor(tf: Tf, viewer: Viewer) {
    this.#tf = tf;
    this.#viewer = viewer;
  }

  fits(backend: string): boolean {
    return backend === this.#viewer.backend;
  }

  open(bounds: readonly Bound[]): void {
    this.#usable = bounds.filter((bound) => !this.#leave(bound));
    for (const bound of this.#usable) this.#separate(bound);
    this.#variables = new Set(this.#usable.map(({ variable }) => variable.dataId));
    this.#viewVariables();
  }

  readGradients(gradients: ReadonlyMap<Bound, TfTensor>): void {
    const view = () => {
      for (const [{ parameter }, gradient] of gradients) {
        parameter.grad = this.#variables.has(gradient.dataId)
          ? valuesOf(gradient).slice() // the step writes to that memory
          : this.#viewer.view(gradient);
      }
    };
    view();
    if (!this.#usable.some(isDetached)) return;
    this.#viewVariables();
    view();
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

  /**
   * Views all variables. tfjs moves tensors that are on another of its backends, and the memory of
   * WebAssembly may grow for that, which detaches older views; once all are there, it does not.
   */
  #viewVariables(): void {
    do {
      for (const bound of this.#usable) {
        const { variable, parameter } = bound;
        if (bound.dataId === variable.dataId && !isDetached(bound)) continue;
        parameter.data = this.#viewer.view(variable);
        bound.dataId = variable.dataId;
      }
    } while (this.#usable.some(isDetached));
  }

  /**
   * Gives a variable a memory of its own, if it has none, or if a clone or an array of the user's would
   * see what is written.
   */
  #separate({ variable, dataId }: Bound): void {
    const backend = this.#tf.backend() as TfBackend;
    if (backend.refCount(variable.dataId) === 0) this.#viewer.view(variable); // it is moved here
    const isKnown = dataId === variable.dataId || !this.#viewer.hasForeign;
    const isAlone = backend.refCount(variable.dataId) <= 1;
    if (isKnown && isAlone && this.#viewer.isShown(variable)) return;
    const values = valuesOf(variable).slice();
    replace(variable, this.#tf.tensor(values, variable.shape, "float32"));
  }
}

/** Whether the memory of a variable is no longer where the view is. */
function isDetached({ variable, parameter }: Bound): boolean {
  return parameter.data.length === 0 && sizeOf(variable) > 0;
}
