/** Sees to it that the arrays of a step stay as they are while it runs. */

import { lengthOf } from "../core/intrinsics.ts";
import type { Plan } from "../plan/plan.ts";

/** What can be asked of the arrays of a step while it runs. */
export interface ArrayGuard {
  /** Throws if one has been replaced, detached or resized. */
  checkAll(): void;
  /** Throws if one has been detached or resized. */
  checkAttached(): void;
}

/** Watches the arrays of a plan that is about to be stepped, which holds them until it is refreshed. */
export function guardArrays(plan: Plan): ArrayGuard {
  const { table, sparse, stateArrays: own } = plan;
  const matrices = new Map(sparse.steps.map(({ row, values }) => {
    return [row, { grad: plan.parameters[row].grad, values, length: lengthOf(values) }] as const;
  }));
  const checkAttached = () => {
    const name = table.findDetached() ?? table.findDetachedData();
    if (name !== null) throw changeError(name, "detached or resized");
    for (const [row, { values, length }] of matrices) {
      const name = lengthOf(values) === length
        ? table.findDetachedOf(row)
        : table.name(row, "grad");
      if (name !== null) throw changeError(name, "detached or resized");
    }
  };
  const checkAll = () => {
    for (const { index, parameter, data, grad } of plan.rowViews()) {
      if (parameter.data !== data) throw changeError(table.name(index, "data"), "replaced");
      const then = matrices.get(index)?.grad ?? grad;
      if (then === null) continue;
      if (parameter.grad !== then) throw changeError(table.name(index, "grad"), "replaced");
      const name = own.findReassigned(index);
      if (name !== null) throw changeError(table.name(index, name), "replaced");
    }
    checkAttached();
  };
  return { checkAll, checkAttached };
}

function changeError(name: string, what: string): Error {
  return new Error(
    `Cannot finish the step as ${name} was ${what} while it ran: await stepAsync before arrays ` +
      "change",
  );
}
