/** The `cpu` backend: the native kernels, one call per step. */

import { checkPullbacks } from "../pullback.ts";
import type { HyperGradients, Pullback } from "../pullback.ts";
import { openLibrary, unwrap } from "../native/library.ts";
import type { Absent, Library } from "../native/library.ts";
import { useAddresses } from "../in_use.ts";
import { bufferOf } from "../intrinsics.ts";
import type { HostArray } from "../parameter.ts";
import type { Plan } from "../plan.ts";
import type { RuleOptions } from "../rule.ts";
import { GROUP_ROW, writeGroup } from "../tables.ts";
import type { Backend } from "./backend.ts";
import { toRows } from "./cpu_vjp.ts";

let backend: Backend | undefined;

/**
 * The backend, opened once per process, or why it cannot be had.
 *
 * @throws {Error} If the library is there and allowed, but does not work.
 */
export function openCpu(): Backend | Absent {
  if (backend !== undefined) return backend;
  const library = openLibrary();
  if ("reason" in library) return library;
  backend = createCpu(library);
  useAddresses(backend.address);
  return backend;
}

function createCpu({ symbols }: Library): Backend {
  const { descent_step, descent_sparse_step, descent_address } = symbols;
  function stepSparse({ sparse, groupRows, groups }: Plan, from: number, to: number): void {
    const [first, end] = sparse.range(from, to);
    if (first === end) return;
    unwrap(symbols, descent_sparse_step(sparse.rows, first, end, groupRows, groups.length));
  }
  return {
    name: "cpu",
    address(array: HostArray | Uint32Array<ArrayBuffer>): number {
      // V8 keeps small arrays inside its own heap, where they move. Asking for the buffer, as every
      // check of an array has done before this, puts them where they stay.
      bufferOf(array);
      return descent_address(array as Uint32Array<ArrayBuffer>);
    },
    allocate: (bytes) => ({ buffer: new ArrayBuffer(bytes), offset: 0 }),
    step(plan: Plan, from: number, to: number): void {
      const status = descent_step(plan.rows, from, to, plan.groupRows, plan.groups.length);
      if (status !== 0) unwrap(symbols, status);
      if (plan.sparse.steps.length > 0) stepSparse(plan, from, to);
    },
    stepWith(plan: Plan, from: number, to: number): void {
      const { rows, groupRows, groups, callRow } = plan;
      const { descent_step_with } = symbols;
      unwrap(symbols, descent_step_with(rows, from, to, groupRows, groups.length, callRow));
      if (plan.sparse.steps.length > 0) stepSparse(plan, from, to);
    },
    norm({ rows, grads, groups }, inverseScale, sums): void {
      const { descent_norm } = symbols;
      const { length } = grads;
      unwrap(symbols, descent_norm(rows, 0, length, inverseScale, sums, groups.length));
    },
    scale({ rows, grads, groupRows, groups }): void {
      const { descent_scale } = symbols;
      unwrap(symbols, descent_scale(rows, 0, grads.length, groupRows, groups.length));
    },
    ...createAsync(symbols),
    goBack(pullbacks: readonly Pullback[], h: Readonly<RuleOptions>): HyperGradients {
      checkPullbacks(pullbacks);
      const group = new Float64Array(GROUP_ROW);
      writeGroup(group, 0, h);
      const sums = new Float64Array(4);
      const rows = toRows(pullbacks, (array) => this.address(array));
      unwrap(symbols, symbols.descent_vjp(rows, pullbacks.length, group, sums));
      const [lr, momentum, dampening, weightDecay] = sums;
      return { lr, momentum, dampening, weightDecay };
    },
  };
}

/** Calls on other threads. The tables are the plan's, which whoever awaits the call holds. */
function createAsync(symbols: Library["symbols"]): Pick<Backend, "stepAsync" | "normAsync"> {
  return {
    async stepAsync({ rows, groupRows, groups, callRow, sparse }, from, to): Promise<void> {
      const { descent_step_with_async, descent_sparse_step_async } = symbols;
      const count = groups.length;
      unwrap(symbols, await descent_step_with_async(rows, from, to, groupRows, count, callRow));
      const [first, end] = sparse.range(from, to);
      if (first === end) return;
      unwrap(symbols, await descent_sparse_step_async(sparse.rows, first, end, groupRows, count));
    },
    async normAsync({ rows, grads, groups }, inverseScale, sums): Promise<void> {
      const { descent_norm_async } = symbols;
      const { length } = grads;
      unwrap(
        symbols,
        await descent_norm_async(rows, 0, length, inverseScale, sums, groups.length),
      );
    },
  };
}
