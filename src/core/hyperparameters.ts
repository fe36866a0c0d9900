/** Hyperparameters of groups: options, defaults and checks. */

import type { Tensor } from "./dtype.ts";
import type { FloatArray } from "./host_array.ts";
import type { Parameter } from "./parameter.ts";
import type { RoundingOptions } from "./rounding.ts";
import { checkKnown, describe } from "./validate.ts";

/** The hyperparameters of a group, all of them present. */
export interface Hyperparameters {
  /** Learning rate, >= 0. */
  lr: number;
  /** Share of the momentum buffer that a step keeps, >= 0; 0 turns momentum off. */
  momentum: number;
  /** Share of the gradient that is withheld from the momentum buffer, >= 0. */
  dampening: number;
  /** L2 penalty, >= 0; 0 turns it off. */
  weightDecay: number;
  /** Nesterov's look-ahead; needs momentum and no dampening. */
  nesterov: boolean;
  /** Ascend instead of descend. */
  maximize: boolean;
  /** False steps tensor by tensor, true and null all tensors in one call; the numbers are equal. */
  foreach: boolean | null;
  /** Record the steps, so that gradients can flow back through them. */
  differentiable: boolean;
  /** Step by the sign of the update (+1, -1 or 0) instead of the update. */
  sign: boolean;
}

/** A backend for arrays: `cpu` is the native library, `js` needs nothing but JavaScript. */
export type BackendName = "cpu" | "js";

/** The options of a parameter group; what is left out comes from the optimizer's own options. */
export interface GroupOptions {
  /** Learning rate, finite and >= 0. Required here or in every group. */
  lr?: number;
  /** Momentum factor, finite and >= 0. @default {0} */
  momentum?: number;
  /** Dampening of momentum, finite and >= 0. @default {0} */
  dampening?: number;
  /** Weight decay (L2 penalty), finite and >= 0. @default {0} */
  weightDecay?: number;
  /** Nesterov momentum; needs momentum > 0 and dampening 0. @default {false} */
  nesterov?: boolean;
  /** Maximize the objective instead of minimizing it. @default {false} */
  maximize?: boolean;
  /** False: tensor by tensor; true or null: all tensors in one native call. @default {null} */
  foreach?: boolean | null;
  /** Record steps, so that `SGD.backward` can go back through them. @default {false} */
  differentiable?: boolean;
  /** Sign-SGD: step by the sign of the update. @default {false} */
  sign?: boolean;
}

/** The options of `new SGD(params, options)`. */
export interface SGDOptions extends GroupOptions, RoundingOptions {
  /**
   * Which implementation runs for arrays. `"auto"` takes the native library when it is there and
   * allowed, and never prompts; `"cpu"` insists on it; `"js"` uses JavaScript alone. Tensors of a
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
};

const CHECKS: { readonly [K in keyof Hyperparameters]: (value: unknown) => void } = {
  lr: (value) => checkNumber("lr", value),
  momentum: (value) => checkNumber("momentum", value),
  dampening: (value) => checkNumber("dampening", value),
  weightDecay: (value) => checkNumber("weightDecay", value),
  nesterov: (value) => checkBoolean("nesterov", value),
  maximize: (value) => checkBoolean("maximize", value),
  foreach: (value) => value === null || checkBoolean("foreach", value, " or null"),
  differentiable: (value) => checkBoolean("differentiable", value),
  sign: (value) => checkBoolean("sign", value),
};

/** The names of all hyperparameters. */
export const HYPERPARAMETERS = Object.keys(CHECKS) as (keyof Hyperparameters)[];

/**
 * Checks one hyperparameter by itself.
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
  checkNumber("initialLr", value);
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
    throw new RangeError(
      "Cannot set nesterov as it needs momentum > 0 and dampening 0: " +
        `current values are momentum ${h.momentum} and dampening ${h.dampening}`,
    );
  }
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
 * @returns New, complete hyperparameters.
 * @throws {TypeError} If lr is missing or an option is of another type.
 * @throws {RangeError} If a value is out of its range.
 */
export function resolve(group: GroupOptions, shared: GroupOptions = {}): Hyperparameters {
  const h = { ...DEFAULTS } as Hyperparameters;
  for (const name of HYPERPARAMETERS) {
    const own = group[name];
    const value = own !== undefined ? own : shared[name];
    if (value !== undefined) Object.assign(h, { [name]: value });
    else if (name === "lr") throw new TypeError("Cannot create the optimizer as lr is missing");
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
export function checkKeys(options: object, others: readonly string[]): void {
  checkKnown(options, [...HYPERPARAMETERS, ...others]);
}

/**
 * Refuses options that are no object.
 *
 * @param doing What they are for, as error messages say it.
 * @throws {TypeError} If they are not an object, or an array.
 */
export function checkObject(doing: string, options: unknown): asserts options is object {
  if (typeof options === "object" && options !== null && !Array.isArray(options)) return;
  throw new TypeError(
    `Cannot ${doing} as options must be an object: current value is ${describe(options)}`,
  );
}

/** Whether gradients can be divided by a scale: a float32 has to hold its inverse. */
export function isInvertible(scale: number): boolean {
  const inverse = Math.fround(1 / scale);
  return inverse > 0 && inverse < Infinity;
}

function checkNumber(name: string, value: unknown): void {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot set ${name} as it must be a number: current value is ${describe(value)}`,
    );
  }
  if (!(value >= 0 && value < Infinity)) {
    throw new RangeError(
      `Cannot set ${name} as it must be finite and >= 0: current value is ${value}`,
    );
  }
}

function checkBoolean(name: string, value: unknown, orElse = ""): void {
  if (typeof value !== "boolean") {
    throw new TypeError(
      `Cannot set ${name} as it must be true or false${orElse}: ` +
        `current value is ${describe(value)}`,
    );
  }
}

/**
 * A parameter group of an optimizer.
 *
 * The hyperparameters can be assigned between steps and take effect at the next one. A value of
 * the wrong type or range throws where it is assigned; a combination that does not fit (nesterov
 * without momentum) throws at the next step, before anything is written, and so does a value that the
 * type of a parameter cannot hold.
 */
export interface ParamGroup<T extends Tensor = FloatArray> extends Hyperparameters {
  /** The parameters, in the order in which they were given. */
  readonly params: readonly Parameter<T>[];
  /**
   * The learning rate that schedules start from. It equals `lr`, and follows what is assigned to it,
   * until an `LRScheduler` is made on the optimizer; from then on it stays, unless a state is loaded
   * or `oneCycleLR` is scheduled. For a group that is added later it is the `lr` that the group is added
   * with, until the next `LRScheduler` is made, which starts from `lr` as it is then.
   */
  readonly initialLr: number;
}
