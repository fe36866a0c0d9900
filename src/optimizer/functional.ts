/** The functional form: one step on arrays that the caller owns. */

import { chooseBackend } from "../backends/choose.ts";
import { memoryOf, stepRows } from "../backends/dispatch.ts";
import type { Tensor } from "../core/dtype.ts";
import { checkGroupKeys, resolve } from "../core/hyperparameters.ts";
import type { BackendName } from "../core/hyperparameters.ts";
import type { Parameter, SparseGrad } from "../core/parameter.ts";
import { readPrecision } from "../core/rounding.ts";
import type { Precision, Rounding } from "../core/rounding.ts";
import {
  cannot,
  checkArray,
  checkBoolean,
  checkNumber,
  checkObject,
  SAFE_WHOLE,
} from "../core/validate.ts";
import { Plan } from "../plan/plan.ts";
import { forEachRowRange } from "../plan/row_ranges.ts";
import { NEUTRAL_REQUEST } from "../step/options.ts";

/**
 * The options of `sgd`. As in torch, the hyperparameters have no defaults here.
 *
 * @category Optimizer
 */
export interface SgdFunctionOptions {
  /**
   * Whether some gradients may be sparse. It is only a hint, as in torch: sparse gradients are
   * recognized without it.
   * @default {false}
   */
  hasSparseGrad?: boolean;
  /** False: tensor by tensor; true or null: all tensors in one native call. @default {null} */
  foreach?: boolean | null;
  /** Weight decay (L2 penalty), finite and >= 0. */
  weightDecay: number;
  /** Momentum factor, finite and >= 0. */
  momentum: number;
  /** Learning rate, finite and >= 0. */
  lr: number;
  /** Dampening of momentum, finite and >= 0. */
  dampening: number;
  /** Nesterov momentum; needs momentum > 0 and dampening 0. */
  nesterov: boolean;
  /** Maximize the objective instead of minimizing it. */
  maximize: boolean;
  /** Sign-SGD: step by the sign of the update. @default {false} */
  sign?: boolean;
  /** Which implementation runs, as for the class. @default {"auto"} */
  backend?: "auto" | BackendName;
  /**
   * How parameters in 16-bit types are rounded, as for the class. Their momentum buffers are float32,
   * and of the same type as the parameter with `"torch"`.
   * @default {"nearest"}
   */
  rounding?: Rounding;
  /** The seed of stochastic rounding: a whole number from 0 to 2^53 - 1. @default {0} */
  seed?: number;
  /**
   * The number of the step, for stochastic rounding, in the range of `seed`; it must differ at each
   * step.
   * @default {0}
   */
  counter?: number;
}

const REQUIRED = ["weightDecay", "momentum", "lr", "dampening", "nesterov", "maximize"] as const;

/**
 * One step of SGD on lists that the caller owns: `torch.optim.sgd.sgd`, in place.
 *
 * Everything is checked before the first write: if this throws, nothing has changed.
 *
 * @param params The parameters' values; updated in place.
 * @param gradList One gradient per parameter, dense or sparse, or null to skip the parameter.
 * @param momentumBufferList One momentum buffer per parameter. Null means that the parameter has
 * not stepped yet: with momentum, the entry is filled in.
 * @param options The hyperparameters.
 * @throws {TypeError} If an option is missing or something is of another type.
 * @throws {RangeError} If a value is out of range or too large for the type in which an update is
 * computed, lengths differ or arrays overlap.
 *
 * @example
 * ```ts
 * import { sgd } from "@descent/sgd";
 *
 * const w = new Float32Array([1, 2]);
 * const buffers = [null];
 * sgd([w], [new Float32Array([0.5, -0.5])], buffers, {
 *   lr: 0.1, momentum: 0.9, dampening: 0, weightDecay: 0, nesterov: false, maximize: false,
 * });
 * console.log(w, buffers[0]); // [ 0.95, 2.05 ] [ 0.5, -0.5 ]
 * ```
 *
 * @category Optimizer
 */
export function sgd(
  params: readonly Tensor[],
  gradList: readonly (Tensor | SparseGrad | null)[],
  momentumBufferList: (Tensor | null)[],
  options: SgdFunctionOptions,
): void {
  const { datas, grads, buffers } = readLists(params, gradList, momentumBufferList);
  const { hyperparameters, backend, precision } = readOptions(options);
  const parameters = datas.map((data, i) => ({ data, grad: grads[i] }) as Parameter<Tensor>);
  const plan = new Plan({ ...memoryOf(backend), allocate: null }, precision); // the caller's own
  plan.add([{ group: hyperparameters, params: parameters }]);
  const { stateArrays } = plan;
  stateArrays.adopt(buffers.map((momentumBuffer) => ({ momentumBuffer, masterWeight: null })));
  plan.refresh();
  const made = buffers.map((_, row) => stateArrays.newBufferAt(row));
  const takeOut = fillIn(momentumBufferList, made);
  try {
    plan.checkAttached(); // the list may be a proxy
    plan.writeCall(NEUTRAL_REQUEST, null);
    const call = plan.isRandom ? plan.callRow : null;
    forEachRowRange(plan, (from, to) => stepRows(backend, plan, from, to, call, null));
  } catch (error) {
    takeOut();
    throw error;
  }
  plan.commit();
}

/**
 * Fills in the momentum buffers that a step has made, before it is taken: all of them or none.
 *
 * @param made The new buffers; null for entries that stay as they are.
 * @returns A function that takes the new buffers out again.
 * @throws {TypeError} If an entry cannot be written.
 */
function fillIn(list: (Tensor | null)[], made: readonly (Tensor | null)[]): () => void {
  for (const [i, buffer] of made.entries()) {
    if (buffer !== null && !Object.getOwnPropertyDescriptor(list, i)?.writable) throw readOnly(i);
  }
  const done: number[] = [];
  const takeOut = () => {
    for (const i of done) Reflect.set(list, i, null);
  };
  try {
    for (const [i, buffer] of made.entries()) {
      if (buffer === null) continue;
      if (!Reflect.set(list, i, buffer)) throw readOnly(i);
      done.push(i);
    }
  } catch (error) {
    takeOut();
    throw error;
  }
  return takeOut;
}

function readOnly(i: number): TypeError {
  return new TypeError(
    cannot("step", `entry ${i} of momentumBufferList must be writable`, "it is null and read-only"),
  );
}

/** Checks the options of one step, and chooses the backend. */
export function readOptions(options: SgdFunctionOptions) {
  checkObject("step", options);
  checkGroupKeys(options, ["hasSparseGrad", "backend", "rounding", "seed", "counter"]);
  const { hasSparseGrad = false, backend, rounding, seed, counter = 0, ...rest } = options;
  checkBoolean("hasSparseGrad", hasSparseGrad);
  for (const name of REQUIRED) {
    if (rest[name] === undefined) throw new TypeError(cannot("step", `${name} is missing`));
  }
  checkNumber("counter", counter, SAFE_WHOLE);
  const precision: Precision = readPrecision({ rounding, seed });
  precision.random.counter = counter;
  return { hyperparameters: resolve(rest), backend: chooseBackend(backend), precision };
}

/**
 * Reads each entry of the lists once. What their getters do cannot change the lists afterwards.
 *
 * @throws {TypeError} If they are not arrays, or empty.
 * @throws {RangeError} If they are not of one length.
 */
export function readLists<T, G, B>(
  params: readonly T[],
  gradList: readonly G[],
  momentumBufferList: readonly B[],
): { datas: T[]; grads: G[]; buffers: B[] } {
  const length = checkLists(params, gradList, momentumBufferList);
  const read = <E>(list: readonly E[]) => Array.from({ length }, (_, i) => list[i]);
  return { datas: read(params), grads: read(gradList), buffers: read(momentumBufferList) };
}

function checkLists(params: unknown, gradList: unknown, momentumBufferList: unknown): number {
  const length = Array.isArray(params) ? params.length : 0;
  for (const [name, list] of Object.entries({ params, gradList, momentumBufferList })) {
    checkArray("step", list, name);
    if (list.length !== length) {
      throw new RangeError(
        cannot("step", `${name} must have ${length} entries, like params`, `it has ${list.length}`),
      );
    }
  }
  if (length === 0) throw new TypeError(cannot("step", "params must not be empty"));
  return length;
}
