/** Norms of gradients and their preparation outside a step, on every backend. */

import { promiseOf } from "../core/runtime.ts";
import type { Backend, Norms } from "./backend.ts";
import { prepareGradients } from "./js/gradients.ts";
import { addNorms } from "./js/norms.ts";

const TYPESCRIPT: Norms = {
  norm: addNorms,
  normAsync: (plan, measure, sums) => promiseOf(() => addNorms(plan, measure, sums)),
  prepare: prepareGradients,
};

/** How gradients are measured and prepared on a backend. */
export function normsOf({ norms }: Backend): Norms {
  return norms ?? TYPESCRIPT;
}
