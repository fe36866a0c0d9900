/** The `cpu` backend: the native kernels, one call per step. */

import type { FloatArray, HostArray } from "../core/host_array.ts";
import { bufferOf, lengthOf } from "../core/intrinsics.ts";
import type { RuleOptions } from "../core/rule.ts";
import { promiseOf } from "../core/runtime.ts";
import { useAddresses } from "../memory/locks.ts";
import { openLibrary, unwrap } from "../native/library.ts";
import type { Absent, Library } from "../native/library.ts";
import type { PinnedCalls } from "../native/pinned.ts";
import { FIRST, GROUP_ROW, LATER, writeGroup } from "../plan/layout.ts";
import type { CallRange } from "../plan/changes.ts";
import type { CallRow } from "../plan/layout.ts";
import { callRangesOf } from "../plan/parts.ts";
import type { Plan } from "../plan/plan.ts";
import type { Backend, Measure } from "./backend.ts";
import { checkPullbacks } from "./pullback.ts";
import type { HyperGradients, Pullback } from "./pullback.ts";

let backend: Backend | undefined;

/**
 * The backend, opened once per process, or why it is not available.
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

function createCpu({ symbols, pinned }: Library): Backend {
  const { descent_step, descent_step_with, descent_sparse_step, descent_address } = symbols;
  const createBuffer = (bytes: number) =>
    pinned.needShared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  function stepSparse({ sparse, groupRows, groups }: Plan, from: number, to: number): void {
    const [first, end] = sparse.range(from, to);
    if (first === end) return;
    const { rows, steps } = sparse;
    unwrap(
      symbols,
      descent_sparse_step(rows, steps.length, first, end, groupRows, groups.length),
    );
  }
  return {
    name: "cpu",
    address(array: HostArray | Uint32Array<ArrayBuffer>): number {
      // V8 keeps small arrays inside its own heap, where they move. Asking for the buffer, as every
      // check of an array has done before this, puts them where they stay.
      bufferOf(array);
      return descent_address(array as Uint32Array<ArrayBuffer>);
    },
    allocate: (bytes) => ({ buffer: createBuffer(bytes), offset: 0 }),
    step(plan: Plan, from: number, to: number, call: CallRow | null): void {
      const { rows, table: { count }, groupRows, groups } = plan;
      const status = call === null
        ? descent_step(rows, count, from, to, groupRows, groups.length, null)
        : descent_step_with(rows, count, from, to, groupRows, groups.length, call);
      if (status !== 0) unwrap(symbols, status);
      if (plan.sparse.steps.length > 0) stepSparse(plan, from, to);
    },
    norm({ rows, grads, groups, addends }, measure, sums): void {
      const { descent_norm } = symbols;
      const { length } = grads;
      const { inverseScale } = measure;
      const added = [addends.words, addends.count, orderOf(measure)] as const;
      unwrap(
        symbols,
        descent_norm(rows, length, 0, length, inverseScale, sums, groups.length, ...added),
      );
    },
    prepare({ rows, grads, groupRows, groups }, { inverseScale, maxValue }): void {
      const { descent_prepare } = symbols;
      const { length } = grads;
      const tables = [rows, length, 0, length, groupRows, groups.length] as const;
      unwrap(symbols, descent_prepare(...tables, inverseScale, maxValue));
    },
    ...createAsync(symbols, pinned),
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

/** Calls on other threads. The tables are arguments too, so that they stay alive as well. */
function createAsync(
  symbols: Library["symbols"],
  { stepAll, norm, maxPins }: PinnedCalls,
): Pick<Backend, "stepAsync" | "normAsync"> {
  function stepRange(plan: Plan, { from, to, pins }: CallRange): Promise<number> {
    const { rows, table, groupRows, groups, callRow, sparse } = plan;
    const [first, end] = sparse.range(from, to);
    const tables = [rows, table.count, from, to, groupRows, groups.length, callRow] as const;
    return stepAll([...tables, sparse.rows, sparse.steps.length, first, end], pins);
  }
  return {
    async stepAsync(plan: Plan, from, to): Promise<void> {
      const ranges = callRangesOf(plan, from, to, maxPins);
      if (ranges.length === 1) return unwrap(symbols, await stepRange(plan, ranges[0]));
      // All calls are made at once: none finds that memory has gone while another one ran.
      const calls = ranges.map((range) => promiseOf(() => stepRange(plan, range)));
      for (const result of await Promise.allSettled(calls)) {
        if (result.status === "rejected") throw result.reason;
        unwrap(symbols, result.value);
      }
    },
    async normAsync(plan: Plan, measure, sums, checkAttached): Promise<void> {
      const { rows, table, groups, addends: { words, count } } = plan;
      // One after the other, so that the numbers are added up in the order of the rows.
      for (const { from, to, pins } of callRangesOf(plan, 0, table.count, maxPins)) {
        if (from > 0) checkAttached();
        unwrap(
          symbols,
          await norm(
            [
              ...[rows, table.count, from, to, measure.inverseScale, sums] as const,
              ...[groups.length, words, count, orderOf(measure)] as const,
            ],
            pins,
          ),
        );
      }
    },
  };
}

/** The number of a norm at the boundary: 0 stands for infinity. */
function orderOf({ normType }: Measure): number {
  return normType === Infinity ? 0 : normType;
}

/** The words of a row, in their order, as `kernels/src/ffi/layout.rs` has it too. */
export const VJP_ROW = [
  ...["param", "grad", "buffer", "paramCotangent", "bufferCotangent"] as const,
  ...["dParam", "dGrad", "dBuffer"] as const,
  ...["length", "dtype", "state"] as const,
] as const;

/** One row per tensor. The arrays must live until the table has been used. */
export function toRows(
  pullbacks: readonly Pullback[],
  address: (array: FloatArray) => number,
): BigUint64Array<ArrayBuffer> {
  const wordOf = (p: Pullback, name: typeof VJP_ROW[number]): bigint => {
    if (name === "length") return BigInt(lengthOf(p.param));
    if (name === "dtype") return BigInt(p.dtype.code);
    if (name === "state") return BigInt(p.buffer === null ? FIRST : LATER);
    const { [name]: array } = p;
    return array === null ? 0n : BigInt(address(array));
  };
  const words = pullbacks.flatMap((p) => VJP_ROW.map((name) => wordOf(p, name)));
  const rows = new BigUint64Array(Math.max(1, words.length)); // an empty array may lie nowhere
  rows.set(words);
  return rows;
}
