/** Detects arrays that are replaced, detached or resized while a step is running. */

import { cannot } from "../core/validate.ts";
import { findDetached, findDetachedData, findDetachedSparse } from "../plan/attached.ts";
import type { Plan } from "../plan/plan.ts";

/** Checks of the arrays of a step while it runs. */
export interface ArrayGuard {
  /** Throws if one has been replaced, detached or resized. */
  checkAll(): void;
  /** Throws if one has been detached or resized. */
  checkAttached(): void;
}

/** Guards the arrays of a plan that is about to be stepped, which holds them until it is refreshed. */
export function guardArrays(plan: Plan): ArrayGuard {
  const { table, stateArrays: own } = plan;
  const matrices = new Map(plan.sparse.steps.map(({ row }) => [row, plan.parameters[row].grad]));
  const checkAttached = () => {
    const name = findDetached(table) ?? findDetachedData(table) ??
      findDetachedSparse(plan, (grad) => grad) ?? plan.addends.findDetached();
    if (name !== null) throw changeError(name, "detached or resized");
  };
  const checkAll = () => {
    for (let row = 0; row < table.count; row++) {
      const parameter = plan.parameters[row];
      if (parameter.data !== table.datas[row]) {
        throw changeError(table.name(row, "data"), "replaced");
      }
      const then = matrices.get(row) ?? table.grads[row];
      if (then === null) continue;
      if (parameter.grad !== then) throw changeError(table.name(row, "grad"), "replaced");
      const name = own.findReassigned(row);
      if (name !== null) throw changeError(table.name(row, name), "replaced");
    }
    checkAttached();
  };
  return { checkAll, checkAttached };
}

function changeError(name: string, what: string): Error {
  return new Error(
    cannot(
      "finish the step",
      `${name} was ${what} while it ran`,
      "await stepAsync before arrays change",
    ),
  );
}
