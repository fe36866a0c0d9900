/** The options of one step: what happens to gradients on their way into the rule. */

import type { DeviceRequest } from "../core/device.ts";
import type { HostArray } from "../core/host_array.ts";
import { isInvertible } from "../core/hyperparameters.ts";
import { NORM_TYPES } from "../core/norm.ts";
import {
  checkBoolean,
  checkKnown,
  checkNumber,
  checkWord,
  outOfRange,
  POSITIVE,
  THRESHOLD,
  wrongType,
} from "../core/validate.ts";
import type { GradientLists } from "../plan/addends.ts";
import type { CallOptions } from "../plan/layout.ts";
import { stepAverageOf } from "./step_average.ts";
import type { StepAverage } from "./step_average.ts";
import type { WeightAverage } from "./weight_average.ts";

/**
 * What a step does besides updating, in the same pass over memory. In this order: gradients are
 * added up, divided by `gradScale`, checked, clipped by their norm, clipped by value, used, and zeroed. At
 * last the new parameters are averaged.
 *
 * @example
 * ```ts
 * import { SGD } from "@descent/sgd";
 *
 * const w = { data: new Float32Array([1, 2]), grad: new Float32Array([300, 400]) };
 * const optimizer = new SGD([w], { lr: 1 });
 * optimizer.step({ gradScale: 100, maxNorm: 1, zeroGrad: true }); // gradients [3, 4], clipped
 * console.log(optimizer.lastStep?.gradNorm, w.data, w.grad); // 5 [ 0.4, 1.2 ] [ 0, 0 ]
 * ```
 *
 * @category Optimizer
 */
export interface StepOptions {
  /**
   * Gradients that are added to those of the parameters: those of other workers, for example. Each list
   * has one entry for each parameter, in the order of all groups: an array of the type and length of the
   * parameter's gradient, or null for none. With `g` the gradient, the step uses `g + a1 + a2 + ...` in
   * the order of the lists, each sum rounded to the type that is computed in; `gradScale`, `maxNorm` and
   * the others apply to that, and `grad` itself stays as it is. No gradient may be sparse or on a GPU. In a
   * world each rank adds its own, to the same parameters as the others.
   * @default {[]}
   */
  addGradients?: readonly (readonly (HostArray | null)[])[];
  /**
   * What the loss was multiplied by, > 0: gradients are divided by it. A float32 has to hold its
   * inverse.
   * @default {1}
   */
  gradScale?: number;
  /**
   * The largest norm of the unscaled gradients, >= 0, of the type `normType`: they are multiplied by
   * `min(1, maxNorm / (norm + 1e-6))`, as by `torch.nn.utils.clip_grad_norm_`. `Infinity` measures
   * and does not clip. Without it the norm does not matter.
   */
  maxNorm?: number;
  /**
   * Which norm `maxNorm` limits: 1 is the sum of magnitudes, 2 the root of the sum of squares, `Infinity`
   * the largest magnitude.
   * @default {2}
   */
  normType?: number;
  /**
   * Whose norm `maxNorm` limits: that of all gradients of the optimizer, or those of each group by
   * themselves.
   * @default {"optimizer"}
   */
  maxNormPer?: "optimizer" | "group";
  /** The largest magnitude of an element, >= 0; what is larger becomes it. @default {Infinity} */
  maxValue?: number;
  /**
   * Whether a gradient that is infinite or NaN, before or after unscaling, skips the whole step. With
   * `maxNorm` so does a norm that overflows.
   * @default {true} if gradScale or maxNorm is given
   */
  checkFinite?: boolean;
  /**
   * Whether gradients are zeros after the step, also after a skipped one, and those of `addGradients` with
   * them.
   * @default {false}
   */
  zeroGrad?: boolean;
  /**
   * Averaged weights that take the new values in the same pass, as `average.update()` after the step would.
   * A skipped step does not count. Parameters without a gradient are averaged too, and so are those of the
   * average that the optimizer does not have.
   */
  average?: WeightAverage;
}

/** The options of a step, checked and complete. */
export interface StepRequest extends CallOptions, DeviceRequest {
  readonly addGradients: GradientLists;
  /** Whether the step is skipped, as `SKIP` asks. */
  readonly isSkipped: boolean;
  /** The averages that the step updates; null for none. */
  readonly average: StepAverage | null;
  /** What the loss was multiplied by: `inverseScale` is its inverse. */
  readonly gradScale: number;
  /** An option that reads or changes gradients before they are used, if there is one. */
  readonly reads: keyof StepOptions | null;
}

/**
 * A key of options that is not public: true skips the step, by a caller that has found infinities already.
 */
export const SKIP: unique symbol = Symbol("skip");

/** A step as it is without options. */
export const NEUTRAL_REQUEST: StepRequest = Object.freeze({
  gradScale: 1,
  inverseScale: 1,
  maxNorm: null,
  perGroup: false,
  normType: 2,
  maxValue: Infinity,
  checkFinite: false,
  addGradients: [],
  isSkipped: false,
  average: null,
  zeroGrad: false,
  reads: null,
});

/** Whether gradients are measured before they are used: the step may be skipped, or depends on a norm. */
export function isMeasured({ checkFinite, isSkipped, maxNorm }: StepRequest): boolean {
  return !isSkipped && (checkFinite || maxNorm !== null);
}

const KEYS: readonly (keyof StepOptions)[] = [
  "gradScale",
  "maxNorm",
  "normType",
  "maxNormPer",
  "maxValue",
  "checkFinite",
  "zeroGrad",
  "addGradients",
  "average",
];

/**
 * Reads what `step` was called with.
 *
 * @returns Null if there are no options.
 * @throws {TypeError} As `readStepOptions`, and if what comes before options is not a function.
 * @throws {RangeError} As `readStepOptions`.
 */
export function readStepArguments(first: unknown, options: unknown): StepRequest | null {
  const needed = "there must be a closure or an object with options";
  if (typeof first === "function") {
    return options === undefined ? null : readStepOptions(options, needed);
  }
  if (first !== undefined && options !== undefined) {
    throw wrongType("step", "the closure must be a function", first);
  }
  return readStepOptions(first === undefined ? options : first, needed);
}

/**
 * Reads what `stepAsync` was called with.
 *
 * @throws {TypeError} As `readStepOptions`; a closure is not supported.
 * @throws {RangeError} As `readStepOptions`.
 */
export function readAsyncArguments(options: unknown): StepRequest {
  if (options === undefined) return NEUTRAL_REQUEST;
  const instead = typeof options === "function"
    ? ", and not a closure: compute the gradients, then call stepAsync"
    : "";
  return readStepOptions(options, `stepAsync takes an object with options${instead}`);
}

/**
 * Checks and completes the options of a step.
 *
 * @param needed What is needed, if it is not an object.
 * @throws {TypeError} If it is not an object, an option does not exist or is of another type, or
 * `maxNormPer` or `normType` comes without `maxNorm`.
 * @throws {RangeError} If a number is out of its range.
 */
function readStepOptions(options: unknown, needed: string): StepRequest {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw wrongType("step", needed, options);
  }
  checkKnown(options, KEYS);
  const own: StepOptions = { ...options }; // getters are called once
  const { gradScale, maxNorm, normType, maxNormPer, maxValue, checkFinite, zeroGrad } = own;
  const addGradients = readLists(own.addGradients);
  const average = own.average === undefined ? null : readAverage(own.average);
  if (gradScale !== undefined) checkGradScale(gradScale);
  if (maxNorm !== undefined) checkNumber("maxNorm", maxNorm, THRESHOLD);
  if (normType !== undefined) checkNormType(normType, maxNorm);
  if (maxNormPer !== undefined) checkPer(maxNormPer, maxNorm);
  if (maxValue !== undefined) checkNumber("maxValue", maxValue, THRESHOLD);
  if (checkFinite !== undefined) checkBoolean("checkFinite", checkFinite);
  if (zeroGrad !== undefined) checkBoolean("zeroGrad", zeroGrad);
  return {
    gradScale: gradScale ?? 1,
    inverseScale: gradScale === undefined ? 1 : 1 / gradScale,
    maxNorm: maxNorm ?? null,
    perGroup: maxNormPer === "group",
    normType: normType ?? 2,
    maxValue: maxValue ?? Infinity,
    checkFinite: checkFinite ?? (gradScale !== undefined || maxNorm !== undefined),
    zeroGrad: zeroGrad ?? false,
    addGradients,
    isSkipped: (own as { [SKIP]?: boolean })[SKIP] === true,
    average,
    reads: KEYS.find((key) => isReading(key, { ...own, addGradients })) ?? null,
  };
}

function isReading(key: keyof StepOptions, options: StepOptions): boolean {
  const value = options[key];
  if (key === "addGradients") return options.addGradients!.length > 0;
  return key !== "zeroGrad" && key !== "average" && value !== undefined && value !== false;
}

/** Copies the lists, so that none changes after it has been checked. */
function readLists(lists: unknown): GradientLists {
  if (lists === undefined) return [];
  if (!Array.isArray(lists)) {
    throw wrongType("set addGradients", "it must be an array of lists", lists);
  }
  return Array.from(lists, (list, i) => {
    if (Array.isArray(list)) return Array.from(list);
    const needed = `list ${i} must be an array of gradients or nulls`;
    throw wrongType("set addGradients", needed, list);
  });
}

function checkGradScale(value: unknown): void {
  checkNumber("gradScale", value, POSITIVE);
  if (!isInvertible(value)) {
    throw outOfRange("set gradScale", "a float32 must hold 1 / gradScale", value);
  }
}

function checkNormType(normType: unknown, maxNorm: number | undefined): void {
  checkNumber("normType", normType, NORM_TYPES);
  if (maxNorm === undefined) {
    throw wrongType("set normType", "it needs maxNorm", normType);
  }
}

function checkPer(maxNormPer: unknown, maxNorm: number | undefined): void {
  checkWord("maxNormPer", maxNormPer, ["optimizer", "group"]);
  if (maxNorm === undefined) throw wrongType("set maxNormPer", "it needs maxNorm", maxNormPer);
}

function readAverage(value: unknown): StepAverage {
  const average = typeof value === "object" && value !== null ? stepAverageOf(value) : undefined;
  if (average !== undefined) return average;
  throw wrongType("set average", "it must be a WeightAverage", value);
}
