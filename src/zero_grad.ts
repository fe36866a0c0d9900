/** Zeroing gradients, dense and sparse ones, on the host and on devices. */

import { fillZero } from "./backends/devices.ts";
import { checkFree } from "./in_use.ts";
import { checkBuffer, elementTypeOf, label } from "./parameter.ts";
import type { Parameter, SparseParameter, Tensor } from "./parameter.ts";
import { isSparse, withoutEntries } from "./sparse.ts";

/**
 * What `SGD.zeroGrad` does.
 *
 * @throws {TypeError} If an option does not exist, or a gradient is of another type or its buffer
 * detached; none has then changed.
 * @throws {Error} If a step that is running uses a gradient; none has then changed.
 */
export function zeroGradients(
  params: readonly Parameter<Tensor>[],
  options: { setToNull?: boolean },
): void {
  for (const key of Object.keys(options)) {
    if (key !== "setToNull") {
      throw new TypeError(`Cannot read option "${key}" as it does not exist: use setToNull`);
    }
  }
  const zeros = params.map(({ grad, name }, i) => {
    if (grad === null || options.setToNull) return null;
    const what = `grad of ${label({ name }, i)}`;
    if (isSparse(grad)) return withoutEntries(grad, what);
    elementTypeOf(grad, what);
    checkBuffer(grad, what);
    checkFree(grad, () => what);
    return grad;
  });
  for (const [i, parameter] of (params as readonly SparseParameter[]).entries()) {
    const zero = zeros[i];
    if (zero === null || isSparse(zero)) parameter.grad = zero;
  }
  fillZero(zeros.filter((zero): zero is Tensor => zero !== null && !isSparse(zero)));
}
