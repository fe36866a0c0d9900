/** The `js` backend: no library, no permission, wherever TypeScript runs. */

import type { Dtype, FloatArray } from "../parameter.ts";
import { FIRST, ROW, SKIP, STATE } from "../plan.ts";
import type { Plan } from "../plan.ts";
import { createRule, factorsOf } from "../rule.ts";
import type { Rule } from "../rule.ts";
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
      const state = plan.rows[i * ROW + STATE];
      if (state === SKIP) continue;
      const { data, grad, buffer, dtype, group } = plan.entries[i];
      const sweep = { data: data!, grad: grad!, buffer, first: state === FIRST };
      ruleOf(dtype!)(sweep, factorsOf(plan.groups[group], dtype!.round));
    }
  },
};

function ruleOf(dtype: Dtype): Rule {
  let rule = rules.get(dtype);
  if (rule === undefined) rules.set(dtype, rule = createRule(dtype.round));
  return rule;
}
