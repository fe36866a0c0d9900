/** Sparse gradients that a step measures or changes: it does so to sums of its own. */

import type { Backend } from "../backends/backend.ts";
import { sumEntries } from "../backends/sparse_sums.ts";
import type { Tensor, WideDtype } from "../core/dtype.ts";
import type { FloatArray, HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { tabulate } from "../plan/layout.ts";
import type { Gradients } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";

/** The sums of an optimizer's sparse gradients. */
export class SparseSums {
  /** The memory of sums by the rows of the plan: steps use it again, as new memory costs more than sums. */
  readonly #memory = new Map<number, FloatArray>();

  /**
   * Puts sums into a plan that has been refreshed, in the place of its sparse gradients: the entries of
   * each row of a matrix are added up in their order. No one else has their arrays, so that the step can
   * write them.
   */
  put(plan: Plan): void {
    plan.replaceSparse((step) => {
      const dtype = typeOf(plan, step.row);
      return sumEntries(step, dtype, this.#memoryOf(step.row, dtype, lengthOf(step.values)));
    });
  }

  #memoryOf(row: number, dtype: WideDtype, length: number): FloatArray {
    let memory = this.#memory.get(row);
    if (memory?.BYTES_PER_ELEMENT !== dtype.bytes || memory.length < length) {
      this.#memory.set(row, memory = dtype.zeros(length));
    }
    return memory;
  }
}

/** The sums in a plan as tables, with the plan's groups; null if it has none. */
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
