/** Finds the master weights of parameters in 16-bit types, whichever optimizer has them. */

import { findElementType, isSixteenBit } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { Parameter } from "../core/parameter.ts";
import { cannot } from "../core/validate.ts";
import type { Correction } from "./parameter_state.ts";
import type { Plan } from "./plan.ts";

const plans = new WeakMap<object, Plan>();

/** Plans whose master weights are up to date in parts only, as other ranks step the rest. */
const partial = new WeakSet<Plan>();

/**
 * Remembers which plan has the master weights of parameters.
 *
 * @param isPartial Whether this rank steps a part of them.
 */
export function registerMasters(
  plan: Plan,
  parameters: readonly Parameter<Tensor>[],
  isPartial: boolean,
): void {
  for (const parameter of parameters) plans.set(parameter, plan);
  if (isPartial) partial.add(plan);
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

  /**
   * The master of a parameter with some data.
   *
   * @throws {TypeError} If this rank has a part of it.
   */
  find(parameter: object, data: Tensor): Master {
    const plan = plans.get(parameter);
    const row = plan && this.#rowsOf(plan).get(parameter);
    if (row === undefined) return NONE;
    const master = masterAt(plan!, row, data);
    const isThere = master.weight !== null || master.correction !== null;
    if (!isThere || !partial.has(plan!)) return master;
    const reason = 'with exchange "shards" each rank has a part of its master weights';
    const doing = `average ${plan!.table.name(row, "data")}`;
    throw new TypeError(cannot(doing, reason, "use the option average of its optimizer's step"));
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
