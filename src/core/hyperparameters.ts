/** Hyperparameters of groups: options, defaults and checks. */

import type { Tensor } from "./dtype.ts";
import type { SGDWorld } from "./exchange.ts";
import type { FloatArray } from "./host_array.ts";
import type { Parameter } from "./parameter.ts";
import type { RoundingOptions } from "./rounding.ts";
import {
  cannot,
  checkBoolean,
  checkKnown,
  checkNumber,
  NOT_NEGATIVE,
  refusal,
} from "./validate.ts";

/**
 * The hyperparameters of a group, all of them present.
 *
 * @category Optimizer
 */
export interface Hyperparameters {
  /** Learning rate, >= 0. */
  lr: number;
  /**
   * Momentum factor: the fraction of the momentum buffer that each step keeps, >= 0; 0 turns
   * momentum off.
   */
  momentum: number;
  /**
   * Dampening: the fraction of the gradient that is left out of the momentum buffer's update, >= 0.
   */
  dampening: number;
  /** Weight decay, >= 0; 0 turns it off. It is an L2 penalty unless it is decoupled. */
  weightDecay: number;
  /** Whether Nesterov momentum is used; it needs momentum > 0 and dampening 0. */
  nesterov: boolean;
  /** Whether the step maximizes the objective instead of minimizing it. */
  maximize: boolean;
  /**
   * False steps one tensor at a time; true and null step all tensors in one call. Results are
   * identical.
   */
  foreach: boolean | null;
  /** Whether steps are recorded, so that `SGD.backward` can differentiate through them. */
  differentiable: boolean;
  /** Whether the step uses the sign of the update (+1, -1 or 0) instead of the update. */
  sign: boolean;
  /**
   * Whether weight decay is decoupled (SGDW): a step first multiplies the parameter by
   * `1 - lr * weightDecay`, and leaves the gradient as it is.
   */
  decoupledWeightDecay: boolean;
}

/**
 * A backend for arrays: `cpu` is the native library, `js` needs nothing but JavaScript.
 *
 * @category Optimizer
 */
export type BackendName = "cpu" | "js";

/**
 * The options of a parameter group; what is left out comes from the optimizer's own options.
 *
 * @category Optimizer
 */
export interface GroupOptions {
  /** Learning rate, finite and >= 0. Required in the options or in every group. */
  lr?: number;
  /** Momentum factor, finite and >= 0. @default {0} */
  momentum?: number;
  /** Dampening of momentum, finite and >= 0. @default {0} */
  dampening?: number;
  /** Weight decay, finite and >= 0: an L2 penalty unless it is decoupled. @default {0} */
  weightDecay?: number;
  /** Nesterov momentum; needs momentum > 0 and dampening 0. @default {false} */
  nesterov?: boolean;
  /** Maximize the objective instead of minimizing it. @default {false} */
  maximize?: boolean;
  /** False: tensor by tensor; true or null: all tensors in one native call. @default {null} */
  foreach?: boolean | null;
  /**
   * Whether steps are recorded, so that `SGD.backward` can differentiate through them.
   * @default {false}
   */
  differentiable?: boolean;
  /** Sign-SGD: step by the sign of the update. @default {false} */
  sign?: boolean;
  /**
   * Decoupled weight decay, as in SGDW and in torch's AdamW: a step first multiplies the parameter by
   * `1 - lr * weightDecay` and then steps without weight decay, so that neither momentum nor `sign` sees
   * it.
   * @default {false}
   */
  decoupledWeightDecay?: boolean;
  /**
   * The bits of an element of momentum. With 32, as without the option, momentum is a buffer of the
   * type that it has by `rounding`. With 8, momentum of parameters with at least 4,096 elements is kept
   * in blocks of 32 values of 8 bits and a scale, rounded with a dither. Momentum of smaller parameters
   * stays float32. It needs parameters of float32, bfloat16 or float16 that are not on a
   * GPU, gradients that are not sparse, and a rounding other than `"torch"`; not available with
   * `differentiable`.
   * @default {32}
   */
  momentumBits?: 8 | 32;
}

/**
 * The options of `new SGD(params, options)`.
 *
 * @category Optimizer
 */
export interface SGDOptions extends GroupOptions, RoundingOptions {
  /**
   * Which implementation steps arrays. `"auto"` takes the native library if it is installed and
   * allowed, and never prompts; `"cpu"` requires it; `"js"` uses JavaScript alone. Tensors of a
   * GPU are always stepped there.
   * @default {"auto"}
   */
  backend?: "auto" | BackendName;
  /**
   * The most steps that `differentiable` keeps, >= 1; older ones are forgotten. Each costs a copy of
   * the parameters, their gradients and momentum buffers.
   * @default {Infinity}
   */
  recordSteps?: number;
  /**
   * The ranks of a job, from `openWorld` of `@descent/sgd/mpi`: all of them take each step together, with
   * the average of their gradients. Parameters begin with the values of rank 0. It needs the native
   * library, dense gradients in arrays, and no `differentiable`.
   * @default {undefined}
   */
  world?: SGDWorld;
  /**
   * What ranks of a world give to each other. With `"gradients"` these are sums of gradients: each rank
   * steps everything and has the whole state. With `"shards"` (ZeRO-1, Rajbhandari et al. 2020) each rank
   * sums up and steps a part, of which it keeps the momentum, and the parameters are gathered: both
   * have the same bits. With `"signs"` (signSGD with majority vote, Bernstein et al. 2018) each rank
   * updates a momentum of its own, and gives the signs of its step to the others, in two bits per element:
   * all step along the signs that the most ranks have, and leave an element as it is at a tie. That
   * needs `sign: true` in every group.
   * @default {"gradients"}
   */
  exchange?: "gradients" | "shards" | "signs";
}

const DEFAULTS: Omit<Hyperparameters, "lr"> = {
  momentum: 0,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  maximize: false,
  foreach: null,
  differentiable: false,
  sign: false,
  decoupledWeightDecay: false,
};

const CHECKS: { readonly [K in keyof Hyperparameters]: (value: unknown) => void } = {
  lr: (value) => checkNumber("lr", value, NOT_NEGATIVE),
  momentum: (value) => checkNumber("momentum", value, NOT_NEGATIVE),
  dampening: (value) => checkNumber("dampening", value, NOT_NEGATIVE),
  weightDecay: (value) => checkNumber("weightDecay", value, NOT_NEGATIVE),
  nesterov: (value) => checkBoolean("nesterov", value),
  maximize: (value) => checkBoolean("maximize", value),
  foreach: (value) => value === null || checkBoolean("foreach", value, ["null"]),
  differentiable: (value) => checkBoolean("differentiable", value),
  sign: (value) => checkBoolean("sign", value),
  decoupledWeightDecay: (value) => checkBoolean("decoupledWeightDecay", value),
};

/** The names of all hyperparameters. */
export const HYPERPARAMETERS = Object.keys(CHECKS) as (keyof Hyperparameters)[];

/**
 * Checks one hyperparameter, regardless of the others.
 *
 * @throws {TypeError} If it is of another type.
 * @throws {RangeError} If it is negative, infinite or NaN.
 */
export function checkHyperparameter(name: keyof Hyperparameters, value: unknown): void {
  CHECKS[name](value);
}

/**
 * Checks the learning rate that a group started with.
 *
 * @throws {TypeError} If it is of another type.
 * @throws {RangeError} If it is negative, infinite or NaN.
 */
export function checkInitialLr(value: unknown): void {
  checkNumber("initialLr", value, NOT_NEGATIVE);
}

/**
 * Checks what holds between hyperparameters.
 *
 * @throws {RangeError} If nesterov comes without momentum or with dampening.
 */
export function checkCombination(
  h: Readonly<Pick<Hyperparameters, "nesterov" | "momentum" | "dampening">>,
): void {
  if (h.nesterov && !(h.momentum > 0 && h.dampening === 0)) {
    const shown = `momentum ${h.momentum} and dampening ${h.dampening}`;
    const reason = "it needs momentum > 0 and dampening 0";
    throw new RangeError(refusal("set nesterov", reason, shown, "values"));
  }
}

/**
 * Checks that a group whose steps are recorded has momentum that can be.
 *
 * @throws {RangeError} If it is differentiable and its momentum has 8 bits.
 */
export function checkRecordable(
  { differentiable, momentumBits }: {
    readonly differentiable: boolean;
    readonly momentumBits?: number;
  },
): void {
  if (!differentiable || momentumBits !== 8) return;
  throw new RangeError(refusal("set differentiable", "it needs momentumBits 32", 8));
}

/**
 * Checks options that groups may still complete: each value, and nesterov against the rest.
 *
 * @throws {TypeError} If an option is of another type.
 * @throws {RangeError} If a value is out of its range or nesterov does not fit.
 */
export function checkShared(shared: GroupOptions): void {
  resolve({}, shared.lr === undefined ? { ...shared, lr: 0 } : shared);
}

/**
 * Completes and checks the options of a group.
 *
 * @param group The group's own options.
 * @param shared The options that hold where the group has none.
 * @param instead What there is where neither has lr.
 * @returns New, complete hyperparameters.
 * @throws {TypeError} If lr is missing or an option is of another type.
 * @throws {RangeError} If a value is out of its range.
 */
export function resolve(
  group: GroupOptions,
  shared: GroupOptions = {},
  instead?: string,
): Hyperparameters {
  const h = { ...DEFAULTS } as Hyperparameters;
  for (const name of HYPERPARAMETERS) {
    const own = group[name];
    const value = own !== undefined ? own : shared[name];
    if (value !== undefined) Object.assign(h, { [name]: value });
    else if (name === "lr") {
      const [doing, reason] = ["create the optimizer", "lr is missing"];
      throw new TypeError(
        instead === undefined ? refusal(doing, reason, value) : cannot(doing, reason, instead),
      );
    }
    checkHyperparameter(name, h[name]);
  }
  checkCombination(h);
  return h;
}

/**
 * Refuses options that do not exist, so that a misspelt one is not silently a default.
 *
 * @throws {TypeError} If there is a key that is neither a hyperparameter nor in `others`.
 */
export function checkGroupKeys(options: object, others: readonly string[]): void {
  checkKnown(options, [...HYPERPARAMETERS, "momentumBits", ...others]);
}

/** Whether gradients can be divided by a scale: a float32 has to hold its inverse. */
export function isInvertible(scale: number): boolean {
  const inverse = Math.fround(1 / scale);
  return inverse > 0 && inverse < Infinity;
}

/**
 * A parameter group of an optimizer.
 *
 * The hyperparameters can be assigned between steps and take effect at the next one. A value of
 * the wrong type or range throws where it is assigned; a combination that does not fit (nesterov
 * without momentum) throws at the next step, before anything is written, and so does a value that the
 * type of a parameter cannot hold.
 *
 * @category Optimizer
 */
export interface ParamGroup<T extends Tensor = FloatArray> extends Hyperparameters {
  /** The parameters, in order. The list is another one after `moveParameter` has changed it. */
  readonly params: readonly Parameter<T>[];
  /**
   * The learning rate that schedules start from. It equals `lr`, and follows what is assigned to it,
   * until an `LRScheduler` is made on the optimizer; from then on it stays, unless a state is loaded
   * or `oneCycleLR` is scheduled. For a group that is added later it is the `lr` that the group is added
   * with, until the next `LRScheduler` is made, which starts from `lr` as it is then.
   */
  readonly initialLr: number;
  /** The bits of an element of momentum, which are those that the group was made with. */
  readonly momentumBits: 8 | 32;
  /** A summary for logs, which `JSON.stringify` calls: the hyperparameters and counts, no arrays. */
  toJSON(): ParamGroupSummary;
}

/**
 * What `toJSON` of a group returns: values for logs, without the elements of any array.
 *
 * @category Optimizer
 */
export interface ParamGroupSummary extends Hyperparameters {
  /** The number of parameters. */
  parameters: number;
  /** The number of their elements. */
  elements: number;
  /** The learning rate that schedules start from. */
  initialLr: number;
  /** The bits of an element of momentum. */
  momentumBits: 8 | 32;
}
