/** State dicts: what an optimizer remembers, in torch's shape and under torch's names. */

import type { HostArray } from "../core/host_array.ts";
import { checkHyperparameter, checkInitialLr, HYPERPARAMETERS } from "../core/hyperparameters.ts";
import type { Hyperparameters } from "../core/hyperparameters.ts";
import { asObject, cannot, checkText, inside, withoutResidue, wrong } from "../core/validate.ts";
import { checkParameters, checkState } from "./check_arrays.ts";
import type { CheckedState, CheckedTensor } from "./check_arrays.ts";
import { checkRoundingDict, checkScalerDict, checkSchedulerDict } from "./extras.ts";
import type {
  CheckedScheduler,
  GradScalerStateDict,
  LRSchedulerStateDict,
  RoundingStateDict,
  ScalerState,
} from "./extras.ts";
import type { TensorDict } from "./dict_tensor.ts";
import { checkAverageDict } from "./weight_average.ts";
import type { CheckedAverages, WeightAverageStateDict } from "./weight_average.ts";

export type { TensorDict } from "./dict_tensor.ts";

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
  /** The state of a `WeightAverage`, where one was saved; `loadStateDict` of an optimizer leaves it. */
  weight_average?: WeightAverageStateDict;
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
  /**
   * The codes of momentum in 8 bits, row-major, which then is there instead of the momentum buffer;
   * absent or null if there is none.
   */
  momentum8?: Int8Array | null;
  /** The exponents of momentum in 8 bits, one for each 32 of its codes; they have no shape. */
  momentum_scales?: Uint8Array | null;
  /**
   * What a split master weight has beside its parameter: the 16 bits below those of the parameter, or 8
   * of them; absent or null if there is none.
   */
  correction?: Int16Array | Int8Array | null;
  /**
   * For a momentum buffer that began with a sparse gradient: an element for each row, 1 for one that has
   * had a gradient, else 0. Absent or null for a buffer that began with a dense one.
   */
  rows_in_use?: Uint8Array | Float32Array | Float64Array | null;
  /** The shape of them; absent for one dimension, and then it fits any shape of its length. */
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
  /** Decoupled weight decay; it is there only where it is on. @default {false} */
  decoupled_weight_decay?: boolean;
  /** The learning rate that schedules start from, once a scheduler was made. @default {lr} */
  initial_lr?: number;
  /** The bits of each element of momentum: 8, or absent for float32. @default {32} */
  momentum_bits?: number;
  /** The indices of the parameters, in order. */
  params: number[];
  /** The names of the parameters, in order, if some of the group have one; null for the others. */
  param_names?: (string | null)[];
  /** Keys that Descent does not know. */
  [other: string]: unknown;
}

/** What a state dict has of a group beside its parameters. */
type GroupValues = Hyperparameters & { initialLr: number; momentumBits: 8 | 32 };

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
  decoupledWeightDecay: "decoupled_weight_decay",
  initialLr: "initial_lr",
  momentumBits: "momentum_bits",
};

const KNOWN = new Set(Object.values(KEYS));

const REQUIRED: readonly string[] = ["lr", "momentum", "dampening", "weight_decay"];

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
  readonly state: CheckedState;
  readonly parameters: ReadonlyMap<number, CheckedTensor>;
  readonly rounding: RoundingStateDict | null;
  readonly scheduler: CheckedScheduler | null;
  readonly scaler: ScalerState | null;
  readonly average: CheckedAverages | null;
  readonly metadata: readonly (readonly [string, string])[];
}

/**
 * Checks a state dict without copying its arrays.
 *
 * @throws {TypeError} If something is missing or of another type.
 * @throws {RangeError} If a hyperparameter or a scale is out of range, an index repeats, or a length
 * or shape does not fit.
 */
export function checkStateDict(dict: unknown): CheckedDict {
  const entries = asObject(dict, "the state dict");
  const { state, param_groups, parameters, rounding, metadata } = entries;
  const { lr_scheduler, grad_scaler, weight_average } = entries;
  if (!Array.isArray(param_groups)) throw wrong("param_groups", "an array", param_groups);
  const indices = new Set<number>();
  const groups = Array.from(param_groups, (group, i) => checkGroup(group, i, indices));
  const checked = checkState(state);
  return {
    groups,
    state: checked,
    parameters: checkParameters(parameters ?? {}, checked.correction),
    rounding: rounding === undefined ? null : checkRoundingDict(rounding),
    scheduler: lr_scheduler === undefined ? null : checkSchedulerDict(lr_scheduler),
    scaler: grad_scaler === undefined ? null : checkScalerDict(grad_scaler),
    average: weight_average === undefined ? null : checkAverageDict(weight_average),
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
  const bits = Object.hasOwn(group, KEYS.momentumBits) ? group[KEYS.momentumBits] : undefined;
  if (bits !== undefined) values.momentumBits = checkMomentumBits(bits, what);
  const others = Object.entries(group)
    .filter(([key, value]) => !KNOWN.has(key) && value !== undefined)
    .map(([key, value]) => [checkText(key, `a key of ${what}`), value] as const);
  return { values, others };
}

/** The number is checked only: an optimizer keeps the one that its groups were made with. */
function checkMomentumBits(value: unknown, what: string): 8 | 32 {
  if (value === 8 || value === 32) return value;
  throw wrong(`${what}.${KEYS.momentumBits}`, "8 or 32", value);
}
