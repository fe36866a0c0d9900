/** Finds the master weights of parameters in 16-bit types, whichever optimizer has them. */

import { findElementType, isSixteenBit } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { Parameter } from "../core/parameter.ts";
import type { Correction } from "./parameter_state.ts";
import type { Plan } from "./plan.ts";

const plans = new WeakMap<object, Plan>();

/** Remembers which plan has the master weights of parameters. */
export function registerMasters(plan: Plan, parameters: readonly Parameter<Tensor>[]): void {
  for (const parameter of parameters) plans.set(parameter, plan);
}

/** What is stepped in the place of a parameter, or beside it. Both are null if nothing is. */
export interface Master {
  /** A float32 copy. */
  readonly weight: Float32Array | null;
  /** The lower bits of a split master weight. */
  readonly correction: Correction | null;
}

const NONE: Master = { weight: null, correction: null };

/** The master of a row whose parameter has some data. What a user has assigned to others does not count. */
export function masterAt({ stateArrays: own, table }: Plan, row: number, data: Tensor): Master {
  const type = findElementType(data);
  if (table.masterWeights === false || type === undefined || !isSixteenBit(type)) return NONE;
  const correction = own.isCorrectionOf(row, data) ? own.correctionAt(row) : null;
  return { weight: own.masterAt(row), correction };
}

/** Finds master weights of several parameters, while no optimizer changes. */
export class MasterFinder {
  readonly #rows = new Map<Plan, ReadonlyMap<object, number>>();

  /** The master of a parameter with some data. */
  find(parameter: object, data: Tensor): Master {
    const plan = plans.get(parameter);
    const row = plan && this.#rowsOf(plan).get(parameter);
    return row === undefined ? NONE : masterAt(plan!, row, data);
  }

  #rowsOf(plan: Plan): ReadonlyMap<object, number> {
    let rows = this.#rows.get(plan);
    if (rows === undefined) this.#rows.set(plan, rows = rowsOf(plan));
    return rows;
  }
}

/** The rows of the parameters of a plan. */
export function rowsOf({ parameters }: Plan): ReadonlyMap<object, number> {
  return new Map(parameters.map((parameter, row) => [parameter, row]));
}
