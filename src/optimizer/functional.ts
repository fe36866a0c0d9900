/** The functional form: one step on arrays that the caller owns. */

import { memoryOf, stepRows } from "../backends/dispatch.ts";
import { isSixteenBit } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { Parameter, SparseGrad } from "../core/parameter.ts";
import { isSplit } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { wrongType } from "../core/validate.ts";
import { assignRest } from "../plan/parameter_state.ts";
import type { Correction, ParameterState } from "../plan/parameter_state.ts";
import { Plan } from "../plan/plan.ts";
import { forEachRowRange } from "../plan/row_ranges.ts";
import { NEUTRAL_REQUEST } from "../step/options.ts";
import { fillIn, readLists, readMasters } from "./functional_lists.ts";
import { readOptions } from "./functional_options.ts";
import type { SgdFunctionOptions } from "./functional_options.ts";
import { MomentumEntries } from "./momentum_entries.ts";

/**
 * One step of SGD on lists that the caller owns: `torch.optim.sgd.sgd`, in place.
 *
 * Everything is checked before the first write: if this throws, nothing has changed.
 *
 * @param params The parameters' values; updated in place.
 * @param gradList One gradient per parameter, dense or sparse, or null to skip the parameter.
 * @param momentumBufferList One momentum buffer per parameter, or where `momentumBits` 8 applies an
 * object with values and scales. Null means that the parameter has not stepped yet: with momentum,
 * the entry is filled in.
 * @param options The hyperparameters, and how parameters and momentum are stored.
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
  momentumBufferList: (
    | Tensor
    | { readonly values: Int8Array; readonly scales: Uint8Array }
    | null
  )[],
  options: SgdFunctionOptions,
): void {
  const { datas, grads, buffers } = readLists(params, gradList, momentumBufferList);
  const settings = readOptions(options);
  const { backend, masterWeightList } = settings;
  const masters = readMasters(masterWeightList, datas.length);
  const momentum = new MomentumEntries(buffers);
  const parameters = datas.map((data, i) => ({ data, grad: grads[i] }) as Parameter<Tensor>);
  const plan = createPlan(settings, parameters);
  giveMasters(momentum.states, masters, plan, settings.precision);
  const { stateArrays } = plan;
  stateArrays.adopt(momentum.states);
  plan.refresh();
  const made = datas.map((_, row) => stateArrays.newMomentumAt(row));
  const begun = masters.map((_, row) => stateArrays.newMasterAt(row));
  const takeOut = fillIn([
    { name: "momentumBufferList", list: momentumBufferList, made },
    { name: "masterWeightList", list: masterWeightList ?? [], made: begun },
  ]);
  try {
    plan.checkAttached(); // the list may be a proxy
    const sparse = plan.sparse.steps.map(({ values }) => values);
    const others = [...datas, ...plan.grads, ...sparse, ...masters as (Tensor | null)[]];
    momentum.check(backend, others);
    take(backend, plan);
  } catch (error) {
    takeOut();
    throw error;
  }
  momentum.finish();
  plan.commit();
}

type Settings = ReturnType<typeof readOptions>;

/** A plan whose arrays are the caller's own. */
function createPlan(settings: Settings, params: readonly Parameter<Tensor>[]): Plan {
  const { backend, precision, hyperparameters, momentumBits } = settings;
  const plan = new Plan({ ...memoryOf(backend), allocate: null }, precision);
  plan.add([{ group: { ...hyperparameters, momentumBits }, params }]);
  return plan;
}

/** Gives the states of parameters their master weights. */
function giveMasters(
  states: readonly ParameterState[],
  masters: readonly (Float32Array | Correction | null)[],
  { table }: Plan,
  precision: Precision,
): void {
  for (const [row, master] of masters.entries()) {
    if (master === null) continue;
    const { dtype } = table.typesAt(row);
    if (!isSixteenBit(dtype)) {
      const what = table.name(row, table.masterName);
      throw wrongType(`use ${what}`, `it must be null, as ${dtype.name} has none`, master);
    }
    if (isSplit(precision)) assignRest(states[row], { correction: master as Correction });
    else states[row].masterWeight = master as Float32Array;
  }
}

function take(backend: Settings["backend"], plan: Plan): void {
  plan.writeCall(NEUTRAL_REQUEST, null);
  const call = plan.isRandom ? plan.callRow : null;
  forEachRowRange(plan, (from, to) => stepRows(backend, plan, from, to, call, null));
}
