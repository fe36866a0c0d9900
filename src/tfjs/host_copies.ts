/** Steps on copies of variables in the memory of JavaScript, by the public API of tfjs alone. */

import type { Tf, TfTensor } from "./api.ts";
import type { Bound, Memory } from "./memory.ts";
import { replace, valuesOf } from "./memory.ts";

/** Whether tensors copy the array that they are made of. Some backends keep it as it is. */
function copiesArrays(tf: Tf): boolean {
  const array = new Float32Array([1]);
  const tensor = tf.tensor(array, [1], "float32");
  array[0] = 2;
  const [value] = valuesOf(tensor);
  tensor.dispose();
  return value === 1;
}

/** Copies of variables, which are read anew only if something else has assigned to a variable. */
export class HostCopies implements Memory {
  readonly #tf: Tf;
  /** Backends that have been asked whether they copy. */
  readonly #copying = new Map<string, boolean>();

  constructor(tf: Tf) {
    this.#tf = tf;
  }

  fits(backend: string): boolean {
    return backend !== "webgpu";
  }

  open(bounds: readonly Bound[]): void {
    for (const bound of bounds) {
      const { variable, parameter } = bound;
      if (variable.isDisposed || bound.dataId === variable.dataId) continue;
      const values = valuesOf(variable);
      const data = parameter.data as Float32Array;
      if (data.length === values.length) data.set(values);
      else parameter.data = values.slice();
      bound.dataId = variable.dataId;
    }
  }

  readGradients(gradients: ReadonlyMap<Bound, TfTensor>): void {
    for (const [{ parameter }, gradient] of gradients) {
      parameter.grad = valuesOf(gradient);
    }
  }

  publish(stepped: readonly Bound[]): void {
    const isCopying = this.#isCopying();
    for (const bound of stepped) {
      const { variable, parameter: { data } } = bound;
      const values = isCopying ? data : (data as Float32Array).slice();
      replace(variable, this.#tf.tensor(values, variable.shape, "float32"));
      bound.dataId = variable.dataId;
    }
  }

  finish(): void {}

  release(): void {}

  #isCopying(): boolean {
    const name = this.#tf.getBackend();
    let answer = this.#copying.get(name);
    if (answer === undefined) this.#copying.set(name, answer = copiesArrays(this.#tf));
    return answer;
  }
}
