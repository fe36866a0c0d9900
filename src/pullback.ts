/** What it takes to go back through one step; `kernels/src/vjp.rs` says how. */

import type { FloatArray, WideDtype } from "./parameter.ts";

/**
 * One tensor: what the step read, the cotangents of what it wrote, and new arrays for the results.
 * All of one dtype and length.
 */
export interface Pullback {
  readonly dtype: WideDtype;
  /** The parameter before the step. */
  readonly param: FloatArray;
  /** Its gradient. */
  readonly grad: FloatArray;
  /** The momentum buffer before the step; null at a first step and without momentum. */
  readonly buffer: FloatArray | null;
  /** The derivative by the parameter after the step. */
  readonly paramCotangent: FloatArray;
  /** The derivative by the buffer after the step; null without momentum. */
  readonly bufferCotangent: FloatArray | null;
  /** Receives the derivative by the parameter before the step. */
  readonly dParam: FloatArray;
  /** Receives the derivative by the gradient. */
  readonly dGrad: FloatArray;
  /** Receives the derivative by the buffer before the step; null where `buffer` is. */
  readonly dBuffer: FloatArray | null;
}

/** The derivatives of a loss by the hyperparameters of a step, summed in float64. */
export interface HyperGradients {
  /** By the learning rate. */
  readonly lr: number;
  /** By the momentum; 0 where momentum is off, as there is no buffer then. */
  readonly momentum: number;
  /** By the dampening, which first steps do not have. */
  readonly dampening: number;
  /** By the weight decay, also where it is 0. */
  readonly weightDecay: number;
}

/** What a step read, and the cotangents of what it wrote; null stands for zeros. */
export interface Taken {
  readonly dtype: WideDtype;
  readonly param: FloatArray;
  readonly grad: FloatArray;
  readonly buffer: FloatArray | null;
  readonly paramCotangent: FloatArray | null;
  readonly bufferCotangent: FloatArray | null;
}

/** Makes room for the results of going back through a step. */
export function pullbackOf(taken: Taken, momentum: number): Pullback {
  const { dtype, param, grad } = taken;
  const zeros = () => dtype.zeros(param.length);
  const buffer = momentum === 0 ? null : taken.buffer;
  return {
    ...{ dtype, param, grad, buffer },
    paramCotangent: taken.paramCotangent ?? zeros(),
    bufferCotangent: momentum === 0 ? null : taken.bufferCotangent ?? zeros(),
    dParam: zeros(),
    dGrad: zeros(),
    dBuffer: buffer && zeros(),
  };
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
