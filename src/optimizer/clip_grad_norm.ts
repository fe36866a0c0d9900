/** Clips gradients by their norm, outside a step. */

import { chooseBackend } from "../backends/choose.ts";
import { normsOf } from "../backends/norms.ts";
import type { HostArray } from "../core/host_array.ts";
import type { BackendName } from "../core/hyperparameters.ts";
import { NORM_TYPES, normOf } from "../core/norm.ts";
import type { Parameter, SparseGrad, SparseParameter } from "../core/parameter.ts";
import {
  cannot,
  checkBoolean,
  checkKnown,
  checkNumber,
  checkObject,
  THRESHOLD,
} from "../core/validate.ts";
import { COEFFICIENT } from "../plan/layout.ts";
import { clipCoefficient } from "../step/clipping.ts";
import { foldSparse, readGradients, tabulateForNorm, tabulateGradients } from "./gradient_list.ts";

/**
 * The options of `clipGradNorm`.
 *
 * @category Gradients
 */
export interface ClipOptions {
  /**
   * Which norm is limited: 1 is the sum of magnitudes, 2 the root of the sum of squares, `Infinity` the
   * largest magnitude.
   * @default {2}
   */
  normType?: number;
  /** Whether a norm that is infinite or NaN throws, before anything changes. @default {false} */
  errorIfNonfinite?: boolean;
  /** Which implementation runs, as for the class. @default {"auto"} */
  backend?: "auto" | BackendName;
}

const DOING = {
  verb: "clip",
  onGpu: "use step({ maxNorm }) of the optimizer, which clips it there",
} as const;

/**
 * Clips gradients, in place, by the norm of all of them together, as
 * `torch.nn.utils.clip_grad_norm_`: they are multiplied by `min(1, maxNorm / (norm + 1e-6))`.
 *
 * The norm is taken in float64, the same on every backend and for any number of threads. If it is
 * infinite, finite gradients become 0; if it is NaN, all become NaN. Of a sparse gradient, the entries
 * of a row are added up first, in their order: where it is clipped, the first one becomes the sum, and
 * the others become zeros. In a training loop `optimizer.step({ maxNorm })` does the same in the pass of
 * the step. In a world this is local: it clips the gradients of one rank by their own norm, before they are
 * averaged, and meets no other rank; `optimizer.step({ maxNorm })` clips the average.
 *
 * @param params Parameters, whose gradients are clipped where they have one, or the gradients themselves.
 * @param maxNorm The largest norm, >= 0; with `Infinity` nothing is clipped.
 * @param options Which norm it is, what one that is not finite does, and the backend.
 * @returns The norm before clipping; 0 if there are no gradients.
 * @throws {TypeError} If something is of another type, `params` is an iterator that yields nothing, or a
 * gradient is on a GPU, detached or resizable.
 * @throws {RangeError} If `maxNorm` is negative or NaN, `normType` is another number, or gradients share
 * memory.
 * @throws {Error} If the norm is not finite and `errorIfNonfinite` is true, or a step that is running
 * uses a gradient.
 *
 * @example
 * ```ts
 * import { clipGradNorm } from "@descent/sgd";
 *
 * const grad = new Float32Array([3, 4]);
 * console.log(clipGradNorm([grad], 1)); // 5
 * console.log(grad); // Float32Array(2) [ 0.6, 0.8 ]
 * ```
 *
 * @category Gradients
 */
export function clipGradNorm(
  params: Iterable<Parameter<HostArray> | SparseParameter | HostArray | SparseGrad>,
  maxNorm: number,
  options: ClipOptions = {},
): number {
  checkObject("clip the gradients", options);
  checkKnown(options, ["normType", "errorIfNonfinite", "backend"]);
  const { normType = 2, errorIfNonfinite = false, backend: choice } = options;
  checkNumber("maxNorm", maxNorm, THRESHOLD);
  checkNumber("normType", normType, NORM_TYPES);
  checkBoolean("errorIfNonfinite", errorIfNonfinite);
  const backend = chooseBackend(choice);
  const named = readGradients(params, DOING);
  const gradients = tabulateGradients(named, backend);
  const isSparse = named.some(({ sparse }) => sparse !== null);
  const measured = isSparse ? tabulateForNorm(named, backend) : gradients;
  const sums = new Float64Array(2);
  const { norm: measure, prepare } = normsOf(backend);
  measure(measured, { inverseScale: 1, normType }, sums);
  const norm = normOf(normType, sums[0]);
  if (errorIfNonfinite && !Number.isFinite(norm)) {
    throw new Error(cannot("clip the gradients", "their norm must be finite", `it is ${norm}`));
  }
  const coefficient = clipCoefficient(maxNorm, norm);
  if (coefficient === 1) return norm;
  foldSparse(named);
  gradients.groupRows[COEFFICIENT] = coefficient;
  prepare(gradients, { inverseScale: 1, maxValue: Infinity });
  return norm;
}
