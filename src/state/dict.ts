/** State dicts: what an optimizer remembers, in torch's shape and under torch's names. */

import { checkBuffer, isFixed } from "../core/array_checks.ts";
import { checkShape } from "../core/check_parameter.ts";
import { dtypeOf, FLOAT32, isHostArray } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { checkHyperparameter, checkInitialLr, HYPERPARAMETERS } from "../core/hyperparameters.ts";
import type { Hyperparameters } from "../core/hyperparameters.ts";
import { lengthOf } from "../core/intrinsics.ts";
import {
  asObject,
  cannot,
  checkText,
  inside,
  isPlainObject,
  withoutResidue,
  wrong,
} from "../core/validate.ts";
import { checkRoundingDict, checkScalerDict, checkSchedulerDict } from "./extras.ts";
import type {
  CheckedScheduler,
  GradScalerStateDict,
  LRSchedulerStateDict,
  RoundingStateDict,
} from "./extras.ts";

/**
 * The state of an optimizer, as torch's `state_dict()` has it: plain objects and arrays.
 *
 * @example
 * ```ts
 * import type { StateDict } from "@descent/sgd";
 *
 * const dict: StateDict = {
 *   state: { "0": { momentum_buffer: new Float32Array([0.5, -0.5]) } },
 *   param_groups: [{ lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, params: [0] }],
 * };
 * ```
 *
 * @category Checkpoints
 */
export interface StateDict {
  /** What is remembered of each parameter that has stepped, by its index. */
  state: Record<string, ParameterStateDict>;
  /** The groups in order; their `params` count through all of them. */
  param_groups: ParamGroupStateDict[];
  /** The parameters' own values, by index, where they were asked for. */
  parameters?: Record<string, TensorDict>;
  /** From where the random bits of stochastic rounding continue, if they are used. */
  rounding?: RoundingStateDict;
  /** The state of a scheduler, where one was saved; `loadStateDict` of an optimizer leaves it. */
  lr_scheduler?: LRSchedulerStateDict;
  /** The state of a scaler, where one was saved; `loadStateDict` of an optimizer leaves it. */
  grad_scaler?: GradScalerStateDict;
  /** The caller's own notes, such as the epoch. */
  metadata?: Record<string, string>;
}

/**
 * What is remembered of a parameter.
 *
 * @category Checkpoints
 */
export interface ParameterStateDict {
  /** The momentum buffer, row-major; absent or null means "not stepped yet". */
  momentum_buffer?: HostArray | null;
  /** The float32 copy of a parameter in a 16-bit type; absent or null if there is none. */
  master_weight?: Float32Array | null;
  /** The shape of both; absent for one dimension, and then it fits any shape of its length. */
  shape?: readonly number[];
}

/**
 * A tensor with its shape.
 *
 * @category Checkpoints
 */
export interface TensorDict {
  /** The values, row-major. */
  data: HostArray;
  /** The shape; absent for one dimension, and then it fits any shape of its length. */
  shape?: readonly number[];
}

/**
 * A parameter group under torch's names. Other keys, such as torch's `fused`, are kept.
 *
 * @category Checkpoints
 */
export interface ParamGroupStateDict {
  /** Learning rate. */
  lr: number;
  /** Momentum factor. */
  momentum: number;
  /** Dampening of momentum. */
  dampening: number;
  /** Weight decay. */
  weight_decay: number;
  /** Nesterov momentum. @default {false} */
  nesterov?: boolean;
  /** Maximize the objective. @default {false} */
  maximize?: boolean;
  /** All tensors in one call. @default {null} */
  foreach?: boolean | null;
  /** Record steps for differentiation. @default {false} */
  differentiable?: boolean;
  /** Sign-SGD. @default {false} */
  sign?: boolean;
  /** The learning rate that schedules start from, once a scheduler was made. @default {lr} */
  initial_lr?: number;
  /** The indices of the parameters, in order. */
  params: number[];
  /** The names of the parameters, in order, if some of the group have one; null for the others. */
  param_names?: (string | null)[];
  /** Keys that Descent does not know. */
  [other: string]: unknown;
}

/** What a state dict has of a group beside its parameters. */
type GroupValues = Hyperparameters & { initialLr: number };

/** Torch's name of each value of a group, in torch's order. */
export const KEYS: Readonly<Record<keyof GroupValues, string>> = {
  lr: "lr",
  momentum: "momentum",
  dampening: "dampening",
  weightDecay: "weight_decay",
  nesterov: "nesterov",
  maximize: "maximize",
  foreach: "foreach",
  differentiable: "differentiable",
  sign: "sign",
  initialLr: "initial_lr",
};

const KNOWN = new Set(Object.values(KEYS));

const REQUIRED: readonly string[] = ["lr", "momentum", "dampening", "weight_decay"];

/** A tensor whose shape agrees with its length. */
export interface CheckedTensor {
  readonly data: HostArray;
  /** Null if it is not known. */
  readonly shape: readonly number[] | null;
}

/** A group that has been checked. */
export interface CheckedGroup {
  readonly values: Partial<GroupValues>;
  /** Keys that Descent does not know. */
  readonly others: readonly (readonly [string, unknown])[];
  readonly params: readonly number[];
  /** Null if none of them has a name, and for each that has none. */
  readonly names: readonly (string | null)[] | null;
}

/** A state dict that has been checked. */
export interface CheckedDict {
  readonly groups: readonly CheckedGroup[];
  /** Momentum buffers by index; a parameter that has not stepped has none. */
  readonly buffers: ReadonlyMap<number, CheckedTensor>;
  /** Master weights by index: float32. */
  readonly masters: ReadonlyMap<number, CheckedTensor>;
  readonly parameters: ReadonlyMap<number, CheckedTensor>;
  readonly rounding: RoundingStateDict | null;
  readonly scheduler: CheckedScheduler | null;
  readonly scaler: GradScalerStateDict | null;
  readonly metadata: readonly (readonly [string, string])[];
}

/**
 * Checks a state dict without copying its arrays.
 *
 * @throws {TypeError} If something is missing or of another type.
 * @throws {RangeError} If a hyperparameter is out of range, an index repeats or a shape does not fit.
 */
export function checkStateDict(dict: unknown): CheckedDict {
  const { state, param_groups, parameters, rounding, lr_scheduler, grad_scaler, metadata } =
    asObject(
      dict,
      "the state dict",
    );
  if (!Array.isArray(param_groups)) throw wrong("param_groups", "an array", param_groups);
  const indices = new Set<number>();
  const groups = Array.from(param_groups, (group, i) => checkGroup(group, i, indices));
  return {
    groups,
    ...checkState(asObject(state, "state")),
    parameters: checkParameters(asObject(parameters ?? {}, "parameters")),
    rounding: rounding === undefined ? null : checkRoundingDict(rounding),
    scheduler: lr_scheduler === undefined ? null : checkSchedulerDict(lr_scheduler),
    scaler: grad_scaler === undefined ? null : checkScalerDict(grad_scaler),
    metadata: Object.entries(asObject(metadata ?? {}, "metadata")).map(([key, value]) =>
      [checkText(key, "a key of metadata"), checkText(value, `metadata.${key}`)] as const
    ),
  };
}

/**
 * Checks one group of a state dict.
 *
 * @param group The group.
 * @param position Its place among the groups.
 * @param indices The indices of the groups before it; its own are added.
 * @throws {TypeError} If something is missing or of another type.
 * @throws {RangeError} If a hyperparameter is out of range or an index repeats.
 */
export function checkGroup(group: unknown, position: number, indices: Set<number>): CheckedGroup {
  const what = `param_groups[${position}]`;
  const { params: list, param_names, ...rest } = asObject(group, what);
  if (!Array.isArray(list)) throw wrong(`${what}.params`, "an array", list);
  const params: number[] = [...list];
  for (const index of params) {
    if (!Number.isSafeInteger(index) || index < 0) {
      throw wrong(`${what}.params`, "whole numbers >= 0", index);
    }
    if (indices.has(index)) {
      throw new RangeError(cannot("use the state dict", `index ${index} is in its params twice`));
    }
    indices.add(index);
  }
  const names = param_names === undefined ? null : checkNames(param_names, what, params.length);
  return { ...checkValues(rest, what), params, names };
}

function checkNames(names: unknown, what: string, length: number): readonly (string | null)[] {
  if (!Array.isArray(names)) throw wrong(`${what}.param_names`, "an array", names);
  if (names.length !== length) {
    throw new RangeError(
      cannot(
        "use the state dict",
        `${what}.param_names must have ${length} names, like params`,
        `it has ${names.length}`,
      ),
    );
  }
  return Array.from(
    names,
    (name, i) => name === null ? null : checkText(name, `${what}.param_names[${i}]`, " or null"),
  );
}

function checkValues(group: Record<string, unknown>, what: string) {
  const values: Partial<GroupValues> = {};
  for (const name of HYPERPARAMETERS) {
    const key = KEYS[name];
    const given = Object.hasOwn(group, key) ? group[key] : undefined;
    const value = name === "lr" ? withoutResidue(given) : given;
    if (value !== undefined) {
      inside(what, () => checkHyperparameter(name, value));
      Object.assign(values, { [name]: value });
    } else if (REQUIRED.includes(key)) throw wrong(`${what}.${key}`, "a number", value);
  }
  const initialLr = Object.hasOwn(group, KEYS.initialLr)
    ? withoutResidue(group[KEYS.initialLr])
    : undefined;
  if (initialLr !== undefined) {
    inside(what, () => checkInitialLr(initialLr));
    values.initialLr = initialLr as number;
  }
  const others = Object.entries(group)
    .filter(([key, value]) => !KNOWN.has(key) && value !== undefined)
    .map(([key, value]) => [checkText(key, `a key of ${what}`), value] as const);
  return { values, others };
}

function checkState(state: Record<string, unknown>): Pick<CheckedDict, "buffers" | "masters"> {
  const buffers = new Map<number, CheckedTensor>();
  const masters = new Map<number, CheckedTensor>();
  for (const key of Object.keys(state)) {
    const where: Where = ["state", key];
    const index = toIndex(where);
    const { momentum_buffer, master_weight, shape, ...rest } = asEntry(state[key], where);
    refuseOthers(rest, where);
    if (momentum_buffer !== undefined && momentum_buffer !== null) {
      buffers.set(index, checkTensor(momentum_buffer, shape, where, "momentum_buffer"));
    }
    if (master_weight === undefined || master_weight === null) continue;
    const tensor = checkTensor(master_weight, shape, where, "master_weight");
    const what = `${nameOf(where)}.master_weight`;
    if (dtypeOf(tensor.data, what) !== FLOAT32) throw wrong(what, "a Float32Array", master_weight);
    masters.set(index, tensor);
  }
  return { buffers, masters };
}

function checkParameters(parameters: Record<string, unknown>): Map<number, CheckedTensor> {
  const tensors = new Map<number, CheckedTensor>();
  for (const key of Object.keys(parameters)) {
    const where: Where = ["parameters", key];
    const index = toIndex(where);
    const { data, shape, ...rest } = asEntry(parameters[key], where);
    refuseOthers(rest, where);
    tensors.set(index, checkTensor(data, shape, where, "data"));
  }
  return tensors;
}

/** An entry of a dict: of what, and under which key. */
type Where = readonly [what: "state" | "parameters", key: string];

function nameOf([what, key]: Where): string {
  return `${what}["${key}"]`;
}

function toIndex(where: Where): number {
  const [, key] = where;
  const index = Number(key);
  if (Number.isSafeInteger(index) && index >= 0 && String(index) === key) return index;
  throw new TypeError(cannot("use the state dict", `the key of ${nameOf(where)} must be an index`));
}

/** A plain object, of which the caller reads each property once. */
function asEntry(value: unknown, where: Where): Record<string, unknown> {
  if (isPlainObject(value)) return value as Record<string, unknown>;
  throw wrong(nameOf(where), "a plain object", value);
}

function refuseOthers(rest: Record<string, unknown>, where: Where): void {
  for (const other of Object.keys(rest)) {
    throw new TypeError(
      cannot("use the state dict", `${nameOf(where)}.${other} is not a state of SGD`),
    );
  }
}

/** The parts of a tensor's name are put together for an error only: a dict may have 250,000. */
function checkTensor(data: unknown, shape: unknown, where: Where, key: string): CheckedTensor {
  const array = data as HostArray;
  if (!isHostArray(data) || !isFixed(array)) {
    const what = `${nameOf(where)}.${key}`;
    dtypeOf(data, what);
    checkBuffer(array, what);
  }
  if (shape === undefined) return { data: array, shape: null };
  const sides = Array.isArray(shape) ? [...shape] : shape as number[];
  checkShape(sides, lengthOf(array), `${nameOf(where)}.${key}`);
  return { data: array, shape: sides };
}
