/** The `js` backend: no library, no permission, wherever TypeScript runs. */

import type { Dtype, FloatArray } from "../parameter.ts";
import type { Plan } from "../plan.ts";
import { createRule, factorsOf } from "../rule.ts";
import type { Rule, Sweep } from "../rule.ts";
import type { Backend } from "./backend.ts";

const rules = new Map<Dtype, Rule>();

/** Each buffer gets a range of addresses of its own, as JavaScript does not tell the real ones. */
const bases = new WeakMap<ArrayBufferLike, number>();
let nextBase = 1;

/** The backend. */
export const js: Backend = {
  name: "js",
  address(array: FloatArray): number {
    let base = bases.get(array.buffer);
    if (base === undefined) {
      base = nextBase;
      nextBase += array.buffer.byteLength + 1;
      bases.set(array.buffer, base);
    }
    return base + array.byteOffset;
  },
  step(plan: Plan, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const { data, grad, buffer, dtype, group, state } = plan.entries[i];
      if (grad === null || dtype!.device !== undefined) continue;
      const arrays = { data, grad, buffer } as Pick<Sweep, "data" | "grad" | "buffer">;
      const sweep = { ...arrays, first: state.momentumBuffer === null };
      ruleOf(dtype!)(sweep, factorsOf(plan.groups[group], dtype!.round));
    }
  },
};

function ruleOf(dtype: Dtype): Rule {
  let rule = rules.get(dtype);
  if (rule === undefined) rules.set(dtype, rule = createRule(dtype.round));
  return rule;
}
