/** The `cpu` backend: the native kernels, one call per step. */

import type { FloatArray } from "../core/host_array.ts";
import { bufferOf, lengthOf } from "../core/intrinsics.ts";
import { orderOf } from "../core/norm.ts";
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
import type { Backend, GoBack, Norms } from "./backend.ts";
import type { Pullback } from "./pullback.ts";

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
  const { descent_step, descent_step_with, descent_sparse_step } = symbols;
  const address = createAddress(symbols);
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
    address,
    allocate: (bytes) => ({ buffer: createBuffer(bytes), offset: 0 }),
    step(plan: Plan, from: number, to: number, call: CallRow | null): void {
      const { rows, table: { count }, groupRows, groups } = plan;
      const status = call === null
        ? descent_step(rows, count, from, to, groupRows, groups.length, null)
        : descent_step_with(rows, count, from, to, groupRows, groups.length, call);
      if (status !== 0) unwrap(symbols, status);
      if (plan.sparse.steps.length > 0) stepSparse(plan, from, to);
    },
    async stepAsync(plan: Plan, from, to): Promise<void> {
      const { stepAll, maxPins } = pinned;
      const ranges = callRangesOf(plan, from, to, maxPins);
      const stepRange = (range: CallRange) => stepAll(argumentsOf(plan, range), range.pins);
      if (ranges.length === 1) return unwrap(symbols, await stepRange(ranges[0]));
      // All calls are made at once: none finds that memory has gone while another one ran.
      const calls = ranges.map((range) => promiseOf(() => stepRange(range)));
      for (const result of await Promise.allSettled(calls)) {
        if (result.status === "rejected") throw result.reason;
        unwrap(symbols, result.value);
      }
    },
    norms: createNorms(symbols, pinned),
    goBack: createGoBack(symbols, address),
    average({ rows, count, words }, { weight, divisor }): void {
      const { descent_average } = symbols;
      unwrap(symbols, descent_average(rows, count, 0, count, words, weight, divisor));
    },
  };
}

/** What a step on another thread takes. The tables are arguments too, so that they stay alive as well. */
function argumentsOf(
  plan: Plan,
  { from, to }: CallRange,
): Parameters<PinnedCalls["stepAll"]>[0] {
  const { rows, table, groupRows, groups, callRow, sparse } = plan;
  const [first, end] = sparse.range(from, to);
  const tables = [rows, table.count, from, to, groupRows, groups.length, callRow] as const;
  return [...tables, sparse.rows, sparse.steps.length, first, end];
}

function createNorms(symbols: Library["symbols"], { norm, maxPins }: PinnedCalls): Norms {
  const { descent_norm, descent_prepare } = symbols;
  return {
    norm({ rows, grads, groups, addends }, measure, sums): void {
      const { length } = grads;
      const { inverseScale } = measure;
      const added = [addends.words, addends.count, orderOf(measure.normType)] as const;
      unwrap(
        symbols,
        descent_norm(rows, length, 0, length, inverseScale, sums, groups.length, ...added),
      );
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
              ...[groups.length, words, count, orderOf(measure.normType)] as const,
            ],
            pins,
          ),
        );
      }
    },
    prepare({ rows, grads, groupRows, groups }, { inverseScale, maxValue }): void {
      const { length } = grads;
      const tables = [rows, length, 0, length, groupRows, groups.length] as const;
      unwrap(symbols, descent_prepare(...tables, inverseScale, maxValue));
    },
  };
}

function createGoBack(symbols: Library["symbols"], address: Backend["address"]): GoBack {
  return (pullbacks, h) => {
    const group = new Float64Array(GROUP_ROW);
    writeGroup(group, 0, h);
    const sums = new Float64Array(4);
    const rows = toRows(pullbacks, address);
    unwrap(symbols, symbols.descent_vjp(rows, pullbacks.length, group, sums));
    const [lr, momentum, dampening, weightDecay] = sums;
    return { lr, momentum, dampening, weightDecay };
  };
}

function createAddress({ descent_address }: Library["symbols"]): Backend["address"] {
  return (array) => {
    // V8 keeps small arrays inside its own heap, where they move. Asking for the buffer, as every check
    // of an array has done before this, puts them where they stay.
    bufferOf(array);
    return descent_address(array as Uint32Array<ArrayBuffer>);
  };
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
