/** The way back through a step, on every backend. */

import type { RuleOptions } from "../core/rule.ts";
import type { Backend } from "./backend.ts";
import { goBackInTypeScript } from "./js/vjp.ts";
import { checkPullbacks } from "./pullback.ts";
import type { HyperGradients, Pullback } from "./pullback.ts";

/**
 * Differentiates one step of some tensors. The arrays are checked first: since they were read, code of
 * the user's may have run.
 *
 * @returns The derivatives with respect to the step's options.
 */
export function goBack(
  backend: Backend,
  pullbacks: readonly Pullback[],
  h: Readonly<RuleOptions>,
): HyperGradients {
  checkPullbacks(pullbacks);
  return (backend.goBack ?? goBackInTypeScript)(pullbacks, h);
}
