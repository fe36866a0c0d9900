/** The `js` backend: no library, no permission, wherever TypeScript runs. */

import type { WideDtype } from "../../core/dtype.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { factorsOf, linesOf } from "../../core/rule.ts";
import { promiseOf } from "../../core/runtime.ts";
import { objectAddressOf } from "../../memory/object_addresses.ts";
import { readGroup } from "../../plan/layout.ts";
import type { CallRow } from "../../plan/layout.ts";
import type { Plan } from "../../plan/plan.ts";
import type { Backend } from "../backend.ts";
import { inspect, plain } from "./plain_views.ts";
import { stepSparse } from "./sparse.ts";
import type { Matrix } from "./sparse.ts";
import { stepDenseRows } from "./step_rows.ts";
import { chooseSweep } from "./tiles.ts";
import { allocate } from "./wasm/workspace.ts";

/** The backend. */
export const js: Backend = {
  name: "js",
  address(array: HostArray | Uint32Array<ArrayBuffer>): number {
    inspect(array as HostArray);
    return objectAddressOf(array);
  },
  allocate,
  step: stepRows,
  stepAsync: (plan, from, to) => promiseOf(() => stepRows(plan, from, to, plan.callRow)),
  norms: null,
  goBack: null,
  average: null,
};

function stepRows(plan: Plan, from: number, to: number, call: CallRow | null): void {
  stepDenseRows(plan, from, to, call);
  if (plan.sparse.steps.length > 0) stepMatrices(plan, from, to);
}

/** Steps the matrices with sparse gradients. */
function stepMatrices(plan: Plan, from: number, to: number): void {
  const [first, end] = plan.sparse.range(from, to);
  for (const step of plan.sparse.steps.slice(first, end)) {
    const { data, buffer, dtype, group } = plan.rowAt(step.row);
    const h = readGroup(plan.groupRows, group);
    const [lines, factors] = [linesOf(h, step.first), factorsOf(h, (dtype as WideDtype).round)];
    const arrays = { data: plain(data as FloatArray), buffer: plain(buffer as FloatArray | null) };
    const matrix: Matrix = { ...arrays, dtype: dtype as WideDtype };
    const sweep = chooseSweep(matrix.data.length);
    stepSparse({ ...step, values: plain(step.values) }, lines, matrix, (p, g, b) => {
      sweep(dtype as WideDtype, lines, factors, p, g, b, 0);
    });
  }
}
