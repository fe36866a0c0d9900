/** Sparse gradients that a step measures or changes: it does so to sums of its own. */

import type { Backend } from "../backends/backend.ts";
import { sumEntries } from "../backends/sparse_sums.ts";
import type { Tensor, WideDtype } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { tabulate } from "../plan/layout.ts";
import type { Gradients } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";

/**
 * Puts sums into a plan that has been refreshed, in the place of its sparse gradients: the entries of
 * each row are added up in their order. The arrays are the plan's own, so that the step can write them.
 */
export function sumSparse(plan: Plan): void {
  plan.replaceSparse((step) => sumEntries(step, typeOf(plan, step.row)));
}

/** The sums as tables, with the groups of the plan; null if there are none. */
export function tabulateSums(plan: Plan, backend: Backend): Gradients | null {
  const { sparse: { steps }, table } = plan;
  if (steps.length === 0) return null;
  const gradients = steps.map(({ row, values }) => ({
    grad: values,
    dtype: typeOf(plan, row),
    group: table.groupAt(row),
  }));
  const address = (array: Tensor) => backend.address(array as HostArray);
  return tabulate(gradients, address, plan);
}

function typeOf({ table }: Plan, row: number): WideDtype {
  return table.typesAt(row).dtype as WideDtype; // sparse gradients of other types are refused
}
