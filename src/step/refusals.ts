/** Refuses steps with options that parameters or gradients do not allow. */

import { cannot } from "../core/validate.ts";
import type { Plan } from "../plan/plan.ts";
import type { StepRequest } from "./options.ts";

/** What errors call gradients that are not arrays, by their kind. */
const NO_ARRAY = { none: null, dense: null, sparse: "sparse", device: "on a GPU" } as const;

/**
 * Refuses what a step cannot do, before anything is written.
 *
 * @param plan Refreshed, and not stepped yet.
 * @throws {TypeError} If gradients are to be read or changed that are sparse or on a GPU, or a group
 * is differentiable.
 * @throws {RangeError} If gradients are to be zeroed and share memory.
 */
export function checkRequest(plan: Plan, request: StepRequest): void {
  const { reads, zeroGrad } = request;
  const option = reads ?? (zeroGrad ? "zeroGrad" : null);
  if (option === null) return;
  if (plan.groups.some(({ differentiable }) => differentiable)) {
    throw new TypeError(
      cannot(
        `step with ${option}`,
        "no group may be differentiable",
        "one has differentiable true",
      ),
    );
  }
  if (reads !== null) checkArrays(plan, reads);
  if (zeroGrad) plan.checkNoGradientAlias();
}

/** Refuses gradients that are not arrays. */
function checkArrays({ table }: Plan, option: string): void {
  for (let row = 0; row < table.count; row++) {
    const what = NO_ARRAY[table.gradientKind(row)];
    if (what === null) continue;
    throw new TypeError(
      cannot(
        `step with ${option}`,
        `${table.name(row, "grad")} must be an array`,
        `it is ${what}`,
      ),
    );
  }
}
