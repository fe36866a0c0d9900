/** Norms of gradients and their scaling, on every backend. */

import { promiseOf } from "../core/runtime.ts";
import type { Backend, Norms } from "./backend.ts";
import { addNorms, scaleGradients } from "./js/gradients.ts";

const TYPESCRIPT: Norms = {
  norm: addNorms,
  normAsync: (plan, inverseScale, sums) => promiseOf(() => addNorms(plan, inverseScale, sums)),
  scale: scaleGradients,
};

/** How gradients are measured and scaled on a backend. */
export function normsOf({ norms }: Backend): Norms {
  return norms ?? TYPESCRIPT;
}
