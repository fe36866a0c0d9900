/** Zeroes gradients, dense and sparse, on the host and on devices. */

import { fillZero } from "../backends/dispatch.ts";
import { bufferError, checkBuffer } from "../core/array_checks.ts";
import { countOf, elementTypeOf } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import { label } from "../core/parameter.ts";
import type { Parameter, SparseParameter } from "../core/parameter.ts";
import { checkBoolean, checkKnown, checkObject } from "../core/validate.ts";
import { assertUnlocked } from "../memory/locks.ts";
import type { Plan } from "../plan/plan.ts";
import { isSparse, withoutEntries } from "../plan/sparse.ts";
import type { StepReport } from "./clipping.ts";
import { replaceGrads } from "./replace_grads.ts";
import type { Replacement } from "./replace_grads.ts";

/**
 * Implements `SGD.zeroGrad`.
 *
 * @throws {TypeError} If an option does not exist or is of another type, a gradient is of another type
 * or its buffer detached, or a parameter whose gradient is to be replaced is frozen; none has then
 * changed.
 * @throws {Error} If a step that is running uses a gradient; none has then changed.
 */
export function zeroGradients(
  params: readonly Parameter<Tensor>[],
  options: { setToNull?: boolean },
): void {
  checkObject("zero gradients", options);
  checkKnown(options, ["setToNull"]);
  const { setToNull = false } = options;
  checkBoolean("setToNull", setToNull);
  const replaced: Replacement[] = [];
  const dense: { grad: Tensor; length: number; name: string }[] = [];
  for (const [i, parameter] of params.entries()) {
    const { grad, name: own } = parameter;
    if (grad === null) continue;
    const name = `grad of ${label({ name: own }, i)}`;
    const replace = (after: unknown) => replaced.push({ parameter, before: grad, after, name });
    if (setToNull) replace(null);
    else if (isSparse(grad)) replace(withoutEntries(grad, name));
    else dense.push({ grad, length: checkDense(grad, name), name });
  }
  const restore = replaceGrads(replaced);
  try {
    for (const { grad, length, name } of dense) { // a getter or a setter may have detached one
      if (countOf(grad) !== length) throw bufferError(grad, name);
      assertUnlocked(grad, () => name);
    }
    fillZero(dense.map(({ grad }) => grad));
  } catch (error) {
    restore();
    throw error;
  }
}

/** Checks a gradient that is to be filled with zeros, and returns its length. */
function checkDense(grad: Tensor, name: string): number {
  elementTypeOf(grad, name);
  checkBuffer(grad, name);
  assertUnlocked(grad, () => name);
  return countOf(grad);
}

/**
 * Zeroes the sparse gradients of a step. The plan has what the step needs of them, and a setter that
 * throws does so before anything is written.
 *
 * @returns Gives the parameters their gradients back; null if there are none.
 * @throws {TypeError} If a parameter is frozen; no gradient has changed then.
 */
export function zeroSparse(plan: Plan): (() => void) | null {
  if (plan.sparse.steps.length === 0) return null;
  const restore = replaceGrads(plan.sparse.steps.flatMap(({ row }) => {
    const parameter = plan.parameters[row] as SparseParameter;
    const { grad: before } = parameter;
    const name = plan.table.name(row, "grad");
    return isSparse(before)
      ? [{ parameter, before, after: withoutEntries(before, name), name }]
      : [];
  }));
  try {
    plan.checkAttached();
  } catch (error) {
    restore();
    throw error;
  }
  return restore;
}

/**
 * Zeroes the arrays of gradients that the passes of a step have not, as it was skipped. Devices have
 * zeroed their tensors in any case.
 */
export function zeroRest({ table }: Plan, { skipped }: StepReport): void {
  if (!skipped) return;
  fillZero(
    table.grads.filter((grad, row): grad is Tensor =>
      grad !== null && table.gradientKind(row) === "dense"
    ),
  );
}
