/** Clips gradients by their norm, outside a step. */

import { chooseBackend } from "../backends/choose.ts";
import { normsOf } from "../backends/norms.ts";
import { bufferError, checkBuffer } from "../core/array_checks.ts";
import { deviceOf, dtypeOf } from "../core/dtype.ts";
import type { Dtype } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import type { BackendName } from "../core/hyperparameters.ts";
import { byteLengthOf, lengthOf } from "../core/intrinsics.ts";
import { label } from "../core/parameter.ts";
import type { Parameter, SparseParameter } from "../core/parameter.ts";
import {
  cannot,
  checkBoolean,
  checkKnown,
  checkNumber,
  checkObject,
  THRESHOLD,
  wrongType,
} from "../core/validate.ts";
import { assertUnlocked } from "../memory/locks.ts";
import { findOverlap, overlapError } from "../memory/overlap.ts";
import { COEFFICIENT, tabulate } from "../plan/layout.ts";
import { isSparse } from "../plan/sparse.ts";
import { clipCoefficient } from "../step/clipping.ts";

/**
 * The options of `clipGradNorm`.
 *
 * @category Gradients
 */
export interface ClipOptions {
  /** Whether a norm that is infinite or NaN throws, before anything changes. @default {false} */
  errorIfNonfinite?: boolean;
  /** Which implementation runs, as for the class. @default {"auto"} */
  backend?: "auto" | BackendName;
}

/** A gradient with its name for error messages. */
interface Named {
  readonly name: string;
  readonly grad: HostArray;
  readonly dtype: Dtype;
  readonly length: number;
}

/**
 * Clips gradients, in place, by the norm of all of them together, as
 * `torch.nn.utils.clip_grad_norm_`: they are multiplied by `min(1, maxNorm / (norm + 1e-6))`.
 *
 * The norm is the root of the sum of all squares, in float64, the same on every backend and for any
 * number of threads. If it is infinite, finite gradients become 0; if it is NaN, all become NaN.
 * In a training loop `optimizer.step({ maxNorm })` does the same in the pass of the step.
 *
 * @param params Parameters, whose gradients are clipped where they have one, or the arrays themselves.
 * @param maxNorm The largest norm, >= 0; with `Infinity` nothing is clipped.
 * @param options What a norm that is not finite does, and the backend.
 * @returns The norm before clipping; 0 if there are no gradients.
 * @throws {TypeError} If something is of another type, or a gradient is sparse, on a GPU, detached or
 * resizable.
 * @throws {RangeError} If `maxNorm` is negative or NaN, or gradients share memory.
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
  params: Iterable<Parameter<HostArray> | SparseParameter | HostArray>,
  maxNorm: number,
  options: ClipOptions = {},
): number {
  checkObject("clip the gradients", options);
  checkKnown(options, ["errorIfNonfinite", "backend"]);
  const { errorIfNonfinite = false, backend: choice } = options;
  checkNumber("maxNorm", maxNorm, THRESHOLD);
  checkBoolean("errorIfNonfinite", errorIfNonfinite);
  const backend = chooseBackend(choice);
  const named = readGradients(params);
  const gradients = tabulate(named, (array) => backend.address(array as HostArray));
  checkApart(named, (array) => backend.address(array));
  const sums = new Float64Array(2);
  const { norm: measure, scale } = normsOf(backend);
  measure(gradients, 1, sums);
  const norm = Math.sqrt(sums[0]);
  if (errorIfNonfinite && !Number.isFinite(norm)) {
    throw new Error(cannot("clip the gradients", "their norm must be finite", `it is ${norm}`));
  }
  const coefficient = clipCoefficient(maxNorm, norm);
  gradients.groupRows[COEFFICIENT] = coefficient;
  if (coefficient !== 1) scale(gradients);
  return norm;
}

function readGradients(params: unknown): Named[] {
  if (typeof (params as Iterable<unknown> | null)?.[Symbol.iterator] !== "function") {
    throw wrongType("use params", "it must be iterable", params);
  }
  const named = [...params as Iterable<unknown>].flatMap((item, i) => {
    const isParameter = typeof item === "object" && item !== null && "grad" in item;
    if (!isParameter) return [readGradient(item, `gradient ${i}`)];
    const { grad, name } = item as Parameter;
    return grad === null ? [] : [readGradient(grad, `grad of ${label({ name }, i)}`)];
  });
  for (const { grad, length, name } of named) { // a getter may have detached one, or started a step
    if (lengthOf(grad) !== length) throw bufferError(grad, name);
    assertUnlocked(grad, () => name);
  }
  return named;
}

function readGradient(grad: unknown, name: string): Named {
  if (isSparse(grad) || deviceOf(grad) !== undefined) {
    const kind = isSparse(grad)
      ? "sparse"
      : "on a GPU: use step({ maxNorm }) of the optimizer, which clips it there";
    throw new TypeError(cannot(`clip ${name}`, "it must be an array", `it is ${kind}`));
  }
  const dtype = dtypeOf(grad, name);
  checkBuffer(grad as HostArray, name);
  return { name, grad: grad as HostArray, dtype, length: lengthOf(grad) };
}

function checkApart(named: readonly Named[], address: (array: HostArray) => number): void {
  const list = named.map(({ grad, name }) => {
    const start = address(grad);
    return { start, end: start + byteLengthOf(grad), name };
  });
  const overlap = findOverlap(list);
  if (overlap !== null) throw overlapError(list[overlap[0]].name, list[overlap[1]].name);
}
