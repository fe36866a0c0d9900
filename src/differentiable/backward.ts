/** Differentiates a loss through recorded steps. */

import type { Backend } from "../backends/backend.ts";
import { goBack } from "../backends/go_back.ts";
import { copyOf, lengthOf } from "../core/intrinsics.ts";
import { checkMatches } from "../core/array_checks.ts";
import { checkBuffer } from "../core/array_checks.ts";
import { cannot, checkKnown, checkObject, describe, refusal, wrongType } from "../core/validate.ts";
import { label } from "../core/parameter.ts";
import type { FloatArray } from "../core/host_array.ts";
import type { Parameter } from "../core/parameter.ts";
import { addUp, NOTHING, pullbackOf } from "../backends/pullback.ts";
import type { HyperGradients, Pullback } from "../backends/pullback.ts";
import type { RecordedGroup, RecordedStep, RecordedTensor } from "./recorder.ts";

/**
 * The derivatives of a loss with respect to parameters.
 *
 * @category Differentiable steps
 */
export type Cotangents = ReadonlyMap<Parameter, FloatArray>;

/**
 * One parameter in one step, as `through` receives it.
 *
 * @category Differentiable steps
 */
export interface BackwardTensor {
  /** Its values before the step. */
  readonly data: FloatArray;
  /** The gradient that the step took. */
  readonly grad: FloatArray;
  /** The derivative of the loss with respect to this gradient. */
  readonly gradCotangent: FloatArray;
  /**
   * The derivative of the loss with respect to the values before the step, through the step alone. If
   * the gradient was computed from these values, add its contribution: the transposed Jacobian of the
   * gradient times `gradCotangent`.
   */
  readonly paramCotangent: FloatArray;
}

/**
 * One step, as `through` receives it.
 *
 * @category Differentiable steps
 */
export interface BackwardStep {
  /** The index of the step among the recorded ones; the oldest is 0. */
  readonly index: number;
  /** The parameters that it stepped. */
  readonly params: ReadonlyMap<Parameter, BackwardTensor>;
  /** The derivatives with respect to the hyperparameters of each group, in this step alone. */
  readonly groups: readonly HyperGradients[];
}

/**
 * The options of `SGD.backward`.
 *
 * @category Differentiable steps
 */
export interface BackwardOptions {
  /**
   * The derivatives with respect to momentum buffers after the last step; missing ones are zeros.
   */
  momentumBuffers?: Cotangents;
  /**
   * A function that is called for each step, from the last to the first, after its derivatives have
   * been computed. If gradients depend on parameters, it adds their contribution to `paramCotangent`;
   * otherwise they are treated as constants.
   */
  through?: (step: BackwardStep) => void;
}

/**
 * The derivatives of a loss with respect to what the recorded steps started from.
 *
 * @category Differentiable steps
 */
export interface BackwardResult {
  /** With respect to each parameter before the first recorded step. */
  readonly params: Cotangents;
  /** With respect to each momentum buffer before the first recorded step, where there was one. */
  readonly momentumBuffers: Cotangents;
  /**
   * With respect to the hyperparameters of each group, if all steps share them: the sums over
   * `steps`.
   */
  readonly groups: readonly HyperGradients[];
  /** With respect to the hyperparameters of each group in each step, oldest step first. */
  readonly steps: readonly (readonly HyperGradients[])[];
}

/** The derivatives with respect to the parameters and momentum buffers between two steps. */
interface Flow {
  readonly params: Map<Parameter, FloatArray>;
  readonly buffers: Map<Parameter, FloatArray>;
}

/** The recorded steps of an optimizer. */
export interface Recorded {
  /** The steps, oldest first. */
  readonly steps: readonly RecordedStep[];
  /** All parameters of the optimizer, in their order. */
  readonly members: readonly Parameter[];
  readonly backend: Backend;
}

/**
 * Computes the derivatives of a loss with respect to what the recorded steps started from.
 *
 * @throws {TypeError} If a cotangent is of another type than its parameter.
 * @throws {RangeError} If a cotangent is of another length, or of a parameter that was not recorded,
 * or if the length or dtype of a parameter changed between steps.
 * @throws {Error} If nothing is recorded, or a group was not recorded in each step.
 */
export function goBackThrough(
  { steps, members, backend }: Recorded,
  cotangents: Cotangents,
  options: BackwardOptions,
): BackwardResult {
  const { momentumBuffers, through } = readBackwardOptions(options);
  if (steps.length === 0) {
    throw new Error(cannot("go back", "no step is recorded", "set differentiable, then step"));
  }
  checkGroups(steps);
  const read = cotangentReader(findTensors(steps), members);
  const flow = {
    params: read(cotangents, "cotangents", "cotangent"),
    buffers: read(momentumBuffers, "momentumBuffers", "momentum buffer's cotangent"),
  };
  const gradients: HyperGradients[][] = [];
  for (let index = steps.length - 1; index >= 0; index--) {
    const params = new Map<Parameter, BackwardTensor>();
    const groups = steps[index].map((group) => goBackThroughGroup(group, backend, flow, params));
    gradients.unshift(groups);
    checkDone(through?.({ index, params, groups }));
    checkFlow(steps[index], flow);
  }
  const total = steps.at(-1)!.map((_, i) =>
    gradients.map((groups) => groups[i] ?? NOTHING).reduce(addUp)
  );
  return { params: flow.params, momentumBuffers: flow.buffers, groups: total, steps: gradients };
}

function readBackwardOptions(options: BackwardOptions) {
  checkObject("go back", options);
  checkKnown(options, ["momentumBuffers", "through"]);
  const { momentumBuffers = new Map(), through } = options;
  if (through !== undefined && typeof through !== "function") {
    throw wrongType("set through", "it must be a function", through);
  }
  return { momentumBuffers, through };
}

/** Replaces the derivatives after a step by those before it, for one group. */
function goBackThroughGroup(
  { options, tensors }: RecordedGroup,
  backend: Backend,
  flow: Flow,
  params: Map<Parameter, BackwardTensor>,
): HyperGradients {
  const pullbacks = (tensors ?? []).map((tensor) => pullbackFrom(tensor, options.momentum, flow));
  const gradients = goBack(backend, pullbacks, options);
  for (const [i, { parameter, data, grad }] of (tensors ?? []).entries()) {
    const { dParam, dGrad, dBuffer } = pullbacks[i];
    flow.params.set(parameter, dParam);
    if (dBuffer !== null) flow.buffers.set(parameter, dBuffer);
    else if (options.momentum !== 0) flow.buffers.delete(parameter); // the step made the buffer
    params.set(parameter, { data, grad, gradCotangent: dGrad, paramCotangent: dParam });
  }
  return gradients;
}

function pullbackFrom(tensor: RecordedTensor, momentum: number, flow: Flow): Pullback {
  const { parameter, name, dtype, data, grad, buffer } = tensor;
  const paramCotangent = flow.params.get(parameter) ?? null;
  const bufferCotangent = flow.buffers.get(parameter) ?? null;
  return pullbackOf(
    { name, dtype, param: data, grad, buffer, paramCotangent, bufferCotangent },
    momentum,
  );
}

/**
 * Refuses a group that was differentiable in only some of the steps: no derivative passes the
 * others.
 */
function checkGroups(steps: readonly RecordedStep[]): void {
  for (const [i] of steps.at(-1)!.entries()) {
    const recorded = steps.map((step) => step[i]).filter((group) => group !== undefined)
      .map(({ tensors }) => tensors !== null);
    if (new Set(recorded).size > 1) {
      throw new Error(
        cannot(
          "go back",
          `group ${i} must be differentiable in all recorded steps or in none`,
          `it was in ${recorded.filter((yes) => yes).length} of ${recorded.length}`,
        ),
      );
    }
  }
}

/** The newest record of each parameter. All of its records need one dtype and length. */
function findTensors(steps: readonly RecordedStep[]): Map<Parameter, RecordedTensor> {
  const found = new Map<Parameter, RecordedTensor>();
  for (const tensor of steps.flatMap((step) => step.flatMap(({ tensors }) => tensors ?? []))) {
    const before = found.get(tensor.parameter) ?? tensor;
    if (before.dtype !== tensor.dtype || lengthOf(before.data) !== lengthOf(tensor.data)) {
      throw new RangeError(
        cannot(
          "go back",
          `data of ${tensor.name} must have one dtype and length in all recorded steps`,
          `there are ${before.dtype.name} x ${before.data.length} and ${tensor.dtype.name} x ` +
            `${tensor.data.length}`,
        ),
      );
    }
    found.set(tensor.parameter, tensor);
  }
  return found;
}

/** A function that checks the caller's cotangents and copies them. */
function cotangentReader(
  known: ReadonlyMap<Parameter, RecordedTensor>,
  members: readonly Parameter[],
) {
  return (cotangents: Cotangents, option: string, what: string): Map<Parameter, FloatArray> => {
    if (!(cotangents instanceof Map)) {
      throw wrongType("go back", `${option} must be a Map from parameters to arrays`, cotangents);
    }
    const own = new Map<Parameter, FloatArray>();
    for (const [parameter, array] of cotangents as Cotangents) {
      const tensor = known.get(parameter);
      if (tensor === undefined) throw strangerError(parameter, members, what);
      const { dtype, name, data } = tensor;
      checkMatches(array, { dtype, length: lengthOf(data) }, `${what} of ${name}`);
      own.set(parameter, copyOf(array));
    }
    return own;
  };
}

function strangerError(parameter: Parameter, members: readonly Parameter[], what: string) {
  const index = members.indexOf(parameter);
  if (index >= 0) {
    return new RangeError(
      cannot(`use ${what} of ${label(parameter, index)}`, "it is in no recorded step"),
    );
  }
  const shown = describe(parameter?.name ?? parameter);
  return new RangeError(
    refusal(`use a ${what}`, "its parameter must be one of the optimizer's", shown),
  );
}

function checkDone(result: unknown): void {
  if (typeof (result as Promise<unknown> | undefined)?.then === "function") {
    throw new TypeError(
      cannot("go back", "through must be done when it returns", "it returned a promise"),
    );
  }
}

/** Checks the arrays that the next step reads: `through` may have detached them. */
function checkFlow(step: RecordedStep, { params }: Flow): void {
  for (const { parameter, name } of step.flatMap(({ tensors }) => tensors ?? [])) {
    checkBuffer(params.get(parameter)!, `paramCotangent of ${name}`);
  }
}
