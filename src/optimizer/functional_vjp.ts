/** The vector-Jacobian product of one step on arrays that the caller owns. */

import { goBack } from "../backends/go_back.ts";
import { checkArrays, pullbackOf } from "../backends/pullback.ts";
import type { HyperGradients, Pullback } from "../backends/pullback.ts";
import { checkBuffer } from "../core/array_checks.ts";
import { dtypeOf, isSixteenBit } from "../core/dtype.ts";
import type { WideDtype } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import type { Hyperparameters } from "../core/hyperparameters.ts";
import { copyOf, fillAll, lengthOf } from "../core/intrinsics.ts";
import { checkOverflow } from "../core/overflow.ts";
import { cannot, checkObject, describe, refusal } from "../core/validate.ts";
import { readLists } from "./functional_lists.ts";
import { readOptions } from "./functional_options.ts";
import type { SgdFunctionOptions } from "./functional_options.ts";

/**
 * The derivatives of a loss with respect to what a step wrote; null or a missing entry counts as
 * zeros.
 *
 * @category Differentiable steps
 */
export interface SgdCotangents {
  /** With respect to each parameter after the step. */
  readonly params: readonly (FloatArray | null)[];
  /** With respect to each momentum buffer after the step. */
  readonly momentumBuffers?: readonly (FloatArray | null)[];
}

/**
 * The derivatives of a loss with respect to what a step read, in new arrays.
 *
 * @category Differentiable steps
 */
export interface SgdGradients extends HyperGradients {
  /** With respect to each parameter before the step. */
  readonly params: readonly FloatArray[];
  /** With respect to each gradient; null where there was none. */
  readonly grads: readonly (FloatArray | null)[];
  /** With respect to each momentum buffer before the step; null where there was none. */
  readonly momentumBuffers: readonly (FloatArray | null)[];
}

/**
 * The vector-Jacobian product of one step. It takes the derivatives of a loss with respect to the
 * parameters and momentum buffers after a step, and returns those with respect to everything that the
 * step read, including the hyperparameters. The result is exact: it is what reverse-mode
 * differentiation of `sgd` with the same arguments gives.
 *
 * - Elements are computed in their own dtype. The derivatives with respect to hyperparameters are sums
 *   over all elements, computed in float64 in an order that depends only on the lengths.
 * - With `sign`, the derivative of the update is 0 wherever it exists. Only the direct path from the
 *   old to the new parameter remains, and the derivative with respect to `lr`.
 * - At a parameter's first step the buffer is the gradient, and the buffer's derivative propagates to
 *   the gradient; torch's own `differentiable` detaches it there.
 * - With momentum 0 the derivative with respect to momentum is 0. With weight decay 0 the derivative
 *   with respect to weight decay is still computed, and so it is with `decoupledWeightDecay`.
 * - The cotangents of a parameter whose gradient is null are returned unchanged.
 *
 * @param params The parameters' values before the step. They are only read, like all arrays here.
 * @param gradList One gradient per parameter, or null if the step skips it. Not sparse.
 * @param momentumBufferList One momentum buffer per parameter, as before the step: null at a
 * parameter's first.
 * @param cotangents The derivatives with respect to what the step wrote.
 * @param options The options of the step; `foreach` and `hasSparseGrad` do not matter.
 * @throws {TypeError} If an option is missing, or something is of another type or of a 16-bit type.
 * @throws {RangeError} If a value is out of range or too large for the type of a parameter, lengths
 * differ, `momentumBits` is 8, or there are `masterWeights`.
 *
 * @example
 * ```ts
 * import { sgdVjp } from "@descent/sgd";
 *
 * // How does a loss depend on the step, if its derivative with respect to the new w is 1?
 * const { lr, params, grads } = sgdVjp(
 *   [new Float32Array([2])],
 *   [new Float32Array([0.5])],
 *   [null],
 *   { params: [new Float32Array([1])] },
 *   { lr: 0.25, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false },
 * );
 * console.log(lr, params[0], grads[0]); // -0.5 [ 1 ] [ -0.25 ]
 * ```
 *
 * @category Differentiable steps
 */
export function sgdVjp(
  params: readonly FloatArray[],
  gradList: readonly (FloatArray | null)[],
  momentumBufferList: readonly (FloatArray | null)[],
  cotangents: SgdCotangents,
  options: SgdFunctionOptions,
): SgdGradients {
  const { datas, grads, buffers } = readLists(params, gradList, momentumBufferList);
  const { hyperparameters: h, backend } = readSettings(options);
  const after = readCotangents(cotangents, datas.length);
  const results = datas.map((param, i) => {
    const arrays = {
      param,
      grad: grads[i],
      buffer: buffers[i],
      paramCotangent: after.params[i],
      bufferCotangent: after.momentumBuffers[i],
    };
    return arrays.grad === null ? passed(arrays, i) : stepped(arrays, i, h);
  });
  const pullbacks = results.flatMap(({ pullback }) => pullback ?? []);
  return {
    ...goBack(backend, pullbacks, h),
    params: results.map(({ dParam }) => dParam),
    grads: results.map(({ dGrad }) => dGrad),
    momentumBuffers: results.map(({ dBuffer }) => dBuffer),
  };
}

/** The options, without those that there is no way back through. */
function readSettings(options: SgdFunctionOptions) {
  const settings = readOptions(options);
  const { momentumBits, precision: { masterWeights } } = settings;
  if (momentumBits !== 32) {
    throw new RangeError(refusal("go back", "it needs momentumBits 32", momentumBits));
  }
  if (!masterWeights) return settings;
  throw new RangeError(refusal("go back", "it needs masterWeights false", describe(masterWeights)));
}

interface Arrays {
  readonly param: FloatArray;
  readonly grad: FloatArray | null;
  readonly buffer: FloatArray | null;
  readonly paramCotangent: FloatArray | null;
  readonly bufferCotangent: FloatArray | null;
}

interface Outcome {
  readonly dParam: FloatArray;
  readonly dGrad: FloatArray | null;
  readonly dBuffer: FloatArray | null;
  readonly pullback?: Pullback;
}

function stepped(arrays: Arrays, index: number, h: Hyperparameters): Outcome {
  const dtype = checkStepArrays(arrays, index);
  checkOverflow(h, dtype.name, {}, index);
  const { momentum } = h;
  const name = `parameter ${index}`;
  const pullback = pullbackOf({ ...arrays, grad: arrays.grad!, name, dtype }, momentum);
  const { dParam, dGrad } = pullback;
  // Without momentum the step leaves the buffer alone.
  const dBuffer = momentum === 0 ? passedBuffer(arrays) : pullback.dBuffer;
  return { dParam, dGrad, dBuffer, pullback };
}

/** A parameter that the step skips. */
function passed(arrays: Arrays, index: number): Outcome {
  const dtype = checkStepArrays(arrays, index);
  const dParam = arrays.paramCotangent === null
    ? dtype.zeros(lengthOf(arrays.param))
    : copyOf(arrays.paramCotangent);
  return { dParam, dGrad: null, dBuffer: passedBuffer(arrays) };
}

function passedBuffer({ buffer, bufferCotangent }: Arrays): FloatArray | null {
  if (buffer === null) return null;
  return bufferCotangent === null ? zerosLike(buffer) : copyOf(bufferCotangent);
}

function zerosLike(array: FloatArray): FloatArray {
  const zeros = copyOf(array);
  fillAll(zeros, 0);
  return zeros;
}

function checkStepArrays(arrays: Arrays, index: number): WideDtype {
  const what = `parameter ${index}`;
  const dtype = dtypeOf(arrays.param, what);
  if (isSixteenBit(dtype)) {
    throw new TypeError(
      refusal(`go back through ${what}`, "it must be float32 or float64", dtype.name, "dtype"),
    );
  }
  checkBuffer(arrays.param, `data of ${what}`);
  const { param, ...others } = arrays;
  checkArrays(others, { dtype, length: lengthOf(param) }, what);
  return dtype as WideDtype;
}

function readCotangents(cotangents: SgdCotangents, length: number) {
  checkObject("go back", cotangents, "cotangents");
  const nulls = Array.from({ length }, () => null);
  const { params, momentumBuffers = nulls, ...rest } = cotangents;
  for (const key of Object.keys(rest)) {
    throw new TypeError(
      cannot(
        `read cotangents "${key}"`,
        "they do not exist",
        "there are params and momentumBuffers",
      ),
    );
  }
  for (const [name, list] of Object.entries({ params, momentumBuffers })) {
    if (!Array.isArray(list) || list.length !== length) {
      const shown = Array.isArray(list) ? `one of ${list.length}` : describe(list);
      const reason = `the cotangents' ${name} must be an array of ${length}, like params`;
      throw new RangeError(refusal("go back", reason, shown));
    }
  }
  return { params: [...params], momentumBuffers: [...momentumBuffers] };
}
