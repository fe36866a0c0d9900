/** The inputs and outputs of the derivative of one step; `kernels/src/vjp/mod.rs` says how. */

import { checkMatches } from "../core/array_checks.ts";
import type { ArraySpec } from "../core/array_checks.ts";
import type { WideDtype } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";

/**
 * One tensor: what the step read, the cotangents of what it wrote, and new arrays for the results.
 * All of one dtype and length.
 */
export interface Pullback {
  /** What error messages call the parameter. */
  readonly name: string;
  readonly dtype: WideDtype;
  /** The parameter before the step. */
  readonly param: FloatArray;
  /** Its gradient. */
  readonly grad: FloatArray;
  /** The momentum buffer before the step; null at a first step and without momentum. */
  readonly buffer: FloatArray | null;
  /** The derivative with respect to the parameter after the step. */
  readonly paramCotangent: FloatArray;
  /** The derivative with respect to the buffer after the step; null without momentum. */
  readonly bufferCotangent: FloatArray | null;
  /** Receives the derivative with respect to the parameter before the step. */
  readonly dParam: FloatArray;
  /** Receives the derivative with respect to the gradient. */
  readonly dGrad: FloatArray;
  /** Receives the derivative with respect to the buffer before the step; null where `buffer` is. */
  readonly dBuffer: FloatArray | null;
}

/**
 * The derivatives of a loss by the hyperparameters of a step, summed in float64.
 *
 * @category Differentiable steps
 */
export interface HyperGradients {
  /** With respect to the learning rate. */
  readonly lr: number;
  /** With respect to the momentum; 0 where momentum is off, as there is no buffer then. */
  readonly momentum: number;
  /** With respect to the dampening, which first steps do not have. */
  readonly dampening: number;
  /** With respect to the weight decay, also where it is 0. */
  readonly weightDecay: number;
}

/** What a step read, and the cotangents of what it wrote; null stands for zeros. */
export interface Taken {
  readonly name: string;
  readonly dtype: WideDtype;
  readonly param: FloatArray;
  readonly grad: FloatArray;
  readonly buffer: FloatArray | null;
  readonly paramCotangent: FloatArray | null;
  readonly bufferCotangent: FloatArray | null;
}

/** Makes room for the results of going back through a step. */
export function pullbackOf(taken: Taken, momentum: number): Pullback {
  const { name, dtype, param, grad } = taken;
  const zeros = () => dtype.zeros(lengthOf(param));
  const buffer = momentum === 0 ? null : taken.buffer;
  return {
    ...{ name, dtype, param, grad, buffer },
    paramCotangent: taken.paramCotangent ?? zeros(),
    bufferCotangent: momentum === 0 ? null : taken.bufferCotangent ?? zeros(),
    dParam: zeros(),
    dGrad: zeros(),
    dBuffer: buffer && zeros(),
  };
}

/** What error messages call the arrays. */
const NAMES = {
  param: "data",
  grad: "grad",
  buffer: "momentum buffer",
  paramCotangent: "cotangent",
  bufferCotangent: "momentum buffer's cotangent",
  dParam: "paramCotangent",
  dGrad: "gradCotangent",
  dBuffer: "momentum buffer's new cotangent",
};

type Arrays = { readonly [name in keyof typeof NAMES]?: FloatArray | null };

/**
 * Checks arrays of one parameter; null stands for none.
 *
 * @throws {TypeError} If one is of another type, detached or resizable.
 * @throws {RangeError} If a length differs.
 */
export function checkArrays(arrays: Arrays, like: ArraySpec, name: string): void {
  for (const [key, array] of Object.entries(arrays)) {
    if (array === null) continue;
    checkMatches(array, like, `${NAMES[key as keyof Arrays]} of ${name}`);
  }
}

/** Checks everything that a backend relies on. */
export function checkPullbacks(pullbacks: readonly Pullback[]): void {
  for (const { name, dtype, ...arrays } of pullbacks) {
    checkArrays(arrays, { dtype, length: lengthOf(arrays.param) }, name);
  }
}

/** The sum of two gradients. */
export function addUp(a: HyperGradients, b: HyperGradients): HyperGradients {
  return {
    lr: a.lr + b.lr,
    momentum: a.momentum + b.momentum,
    dampening: a.dampening + b.dampening,
    weightDecay: a.weightDecay + b.weightDecay,
  };
}

/** No gradient. */
export const NOTHING: HyperGradients = { lr: 0, momentum: 0, dampening: 0, weightDecay: 0 };
