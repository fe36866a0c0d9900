/** Unscales the gradients of an optimizer apart from its step. */

import { chooseBackend } from "../backends/choose.ts";
import { normsOf } from "../backends/norms.ts";
import { isFoundAnywhere } from "../core/exchange.ts";
import { cannot, wrongType } from "../core/validate.ts";
import { readGradients, tabulateGradients } from "./gradient_list.ts";
import type { NamedGradient } from "./gradient_list.ts";

/** An optimizer, as far as its gradients go. */
interface Owner {
  readonly backend?: unknown;
  readonly paramGroups?: readonly { readonly params: Iterable<unknown> }[];
}

const DOING = {
  verb: "unscale",
  onGpu: "use stepAsync of the scaler, which unscales it there",
} as const;

/**
 * Divides the gradients of an optimizer, in place, by a scale.
 *
 * @returns Whether one of them is infinite or NaN, before or after that; in a world, whether one of any rank
 * is.
 * @throws {TypeError} If the optimizer has no groups, or a gradient is on a GPU, detached, resizable or of
 * float16, which does not hold small gradients without a scale.
 * @throws {RangeError} If gradients share memory.
 * @throws {WorldError} If other ranks do something else, or have another scale. Nothing has been written
 * then.
 * @throws {Error} If a step that is running uses a gradient.
 */
export function unscaleGradients(optimizer: object, scale: number): boolean {
  const { backend: own, paramGroups } = optimizer as Owner;
  if (!Array.isArray(paramGroups)) {
    throw wrongType("unscale", "the optimizer must have paramGroups", paramGroups);
  }
  const backend = chooseBackend(own === "js" ? own : undefined);
  const named = readGradients(paramGroups.flatMap(({ params }) => [...params]), DOING);
  named.forEach(checkType);
  const gradients = tabulateGradients(named, backend);
  const sums = new Float64Array(2);
  const inverseScale = 1 / scale;
  const { norm: measure, prepare } = normsOf(backend);
  measure(gradients, { inverseScale, normType: Infinity }, sums);
  const found = isFoundAnywhere(optimizer, sums[1] !== 0, scale);
  prepare(gradients, { inverseScale, maxValue: Infinity });
  return found;
}

function checkType({ dtype, name }: NamedGradient): void {
  if (dtype.name !== "float16") return;
  throw new TypeError(
    cannot(
      `unscale ${name}`,
      "float16 does not hold small gradients without a scale",
      "use step of the scaler, which unscales in float32, or make it a Float32Array",
    ),
  );
}
