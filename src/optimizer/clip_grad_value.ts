/** Clips gradients element by element, outside a step. */

import { chooseBackend } from "../backends/choose.ts";
import { normsOf } from "../backends/norms.ts";
import type { HostArray } from "../core/host_array.ts";
import type { BackendName } from "../core/hyperparameters.ts";
import type { Parameter, SparseGrad, SparseParameter } from "../core/parameter.ts";
import { checkKnown, checkNumber, checkObject, THRESHOLD } from "../core/validate.ts";
import { foldSparse, readGradients, tabulateGradients } from "./gradient_list.ts";

/**
 * The options of `clipGradValue`.
 *
 * @category Gradients
 */
export interface ClipValueOptions {
  /** Which implementation runs, as for the class. @default {"auto"} */
  backend?: "auto" | BackendName;
}

const DOING = {
  verb: "clip",
  onGpu: "use step({ maxValue }) of the optimizer, which clips it there",
} as const;

/**
 * Clips each element of gradients, in place, to `-maxValue..maxValue`, as
 * `torch.nn.utils.clip_grad_value_`. NaN stays NaN.
 *
 * Of a sparse gradient, the entries of a row are added up first, in their order: the first one becomes
 * the sum, which is clipped, and the others become zeros. In a training loop
 * `optimizer.step({ maxValue })` does the same in the pass of the step.
 *
 * @param params Parameters, whose gradients are clipped where they have one, or the gradients themselves.
 * @param maxValue The largest magnitude of an element, >= 0; with `Infinity` nothing changes.
 * @param options The backend.
 * @throws {TypeError} If something is of another type, `params` is an iterator that yields nothing, or a
 * gradient is on a GPU, detached or resizable.
 * @throws {RangeError} If `maxValue` is negative or NaN, or gradients share memory.
 * @throws {Error} If a step that is running uses a gradient.
 *
 * @example
 * ```ts
 * import { clipGradValue } from "@descent/sgd";
 *
 * const grad = new Float32Array([3, -0.5, -4]);
 * clipGradValue([grad], 1);
 * console.log(grad); // Float32Array(3) [ 1, -0.5, -1 ]
 * ```
 *
 * @category Gradients
 */
export function clipGradValue(
  params: Iterable<Parameter<HostArray> | SparseParameter | HostArray | SparseGrad>,
  maxValue: number,
  options: ClipValueOptions = {},
): void {
  checkObject("clip the gradients", options);
  checkKnown(options, ["backend"]);
  checkNumber("maxValue", maxValue, THRESHOLD);
  const backend = chooseBackend(options.backend);
  const named = readGradients(params, DOING);
  const gradients = tabulateGradients(named, backend);
  if (maxValue === Infinity) return;
  foldSparse(named);
  normsOf(backend).prepare(gradients, { inverseScale: 1, maxValue });
}
