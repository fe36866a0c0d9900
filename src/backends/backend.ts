/** What a backend does. */

import type { BackendName } from "../options.ts";
import type { FloatArray } from "../parameter.ts";
import type { HyperGradients, Pullback } from "../pullback.ts";
import type { Plan } from "../plan.ts";
import type { RuleOptions } from "../rule.ts";

/** An implementation of the rule over the tables of a plan, and of the way back through it. */
export interface Backend {
  readonly name: BackendName;
  /** Where an array's bytes begin, on a scale on which arrays that share memory overlap. */
  address(array: FloatArray | Uint32Array<ArrayBuffer>): number;
  /** One step of the rows `from <= row < to` of a refreshed plan. */
  step(plan: Plan, from: number, to: number): void;
  /** Goes back through one step of some tensors, and returns the derivatives by its options. */
  goBack(pullbacks: readonly Pullback[], h: Readonly<RuleOptions>): HyperGradients;
}
