/** The `js` backend: no library, no permission, wherever TypeScript runs. */

import { isSixteenBit } from "../parameter.ts";
import type { FloatArray, WideDtype } from "../parameter.ts";
import type { Plan } from "../plan.ts";
import { factorsOf, linesOf } from "../rule.ts";
import type { Factors, Lines } from "../rule.ts";
import { Slab } from "../slab.ts";
import { BUFFER, FIRST, groupOf, isOnHost, readGroup, readWord, ROW, stateOf } from "../tables.ts";
import type { CallRow } from "../tables.ts";
import { TILE } from "../wasm/kernel.ts";
import { allocate } from "../wasm/workspace.ts";
import type { Backend } from "./backend.ts";
import { addNorms, preparationOf, prepare, scaleGradients } from "./js_gradients.ts";
import type { Preparation } from "./js_gradients.ts";
import { stepSixteenBit } from "./js_sixteen_bit.ts";
import { stepSparse } from "./js_sparse.ts";
import type { Matrix } from "./js_sparse.ts";
import { chooseSweep } from "./js_sweep.ts";
import { goBack } from "./js_vjp.ts";

/** Each buffer gets a range of addresses of its own, as JavaScript does not tell the real ones. */
const bases = new WeakMap<ArrayBufferLike, number>();
let nextBase = 1;

/** What rows of one dtype, group and state have in common. */
interface Choice {
  readonly dtype: WideDtype;
  readonly group: number;
  readonly first: boolean;
  readonly lines: Lines;
  readonly factors: Factors<number>;
}

function choose(plan: Plan, dtype: WideDtype, group: number, first: boolean): Choice {
  const h = readGroup(plan.groupRows, group);
  return { dtype, group, first, lines: linesOf(h, first), factors: factorsOf(h, dtype.round) };
}

/** The backend. */
export const js: Backend = {
  name: "js",
  address(array: FloatArray | Uint32Array<ArrayBuffer>): number {
    let base = bases.get(array.buffer);
    if (base === undefined) {
      base = nextBase;
      nextBase += array.buffer.byteLength + 1;
      bases.set(array.buffer, base);
    }
    return base + array.byteOffset;
  },
  allocate,
  step: stepRows,
  stepAsync: (plan, from, to) => Promise.try(() => stepRows(plan, from, to, plan.callRow)),
  norm: addNorms,
  normAsync: (plan, inverseScale, sums) => Promise.try(() => addNorms(plan, inverseScale, sums)),
  scale: scaleGradients,
  goBack,
};

/**
 * Steps one tensor, whose momentum buffer begins at element `at` of an array, by gradients that are
 * prepared if that is asked for.
 */
function stepTensor(
  { dtype, lines, factors }: Choice,
  preparation: Preparation | null,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  at: number,
): void {
  const sweep = chooseSweep(data.length);
  if (preparation === null) return sweep(dtype, lines, factors, data, grad, buffer, at);
  sweepPrepared(preparation, data, grad, (p, g, from) => {
    sweep(dtype, lines, factors, p, g, buffer, at + from);
  });
}

function stepRows(plan: Plan, from: number, to: number, call: CallRow | null): void {
  const { table, halves } = plan;
  let choice: Choice | undefined;
  for (let row = from; row < to; row++) {
    if (!isOnHost(halves, row)) continue;
    const dtype = table.typesAt(row).dtype as WideDtype;
    const group = groupOf(halves, row);
    const preparation = call === null ? null : preparationOf(call, plan, group, dtype);
    if (isSixteenBit(dtype)) {
      stepSixteenBit(plan, plan.entryAt(row), preparation);
      continue;
    }
    const first = stateOf(halves, row) === FIRST;
    if (choice?.dtype !== dtype || choice.group !== group || choice.first !== first) {
      choice = choose(plan, dtype, group, first);
    }
    const data = table.datas[row] as FloatArray;
    const grad = table.grads[row] as FloatArray;
    const held = table.buffers[row];
    if (held instanceof Slab) {
      const at = held.indexOf(dtype, readWord(halves, row * ROW + BUFFER));
      stepTensor(choice, preparation, data, grad, held.whole(dtype) as FloatArray, at);
    } else stepTensor(choice, preparation, data, grad, held as FloatArray | null, 0);
  }
  if (plan.sparse.steps.length > 0) stepMatrices(plan, from, to);
}

/** Steps one tensor by gradients that are prepared a tile at a time. */
function sweepPrepared(
  preparation: Preparation,
  data: FloatArray,
  grad: FloatArray,
  sweep: (data: FloatArray, grad: FloatArray, from: number) => void,
): void {
  const tile = grad.slice(0, TILE);
  for (let from = 0; from < grad.length; from += TILE) {
    const to = Math.min(from + TILE, grad.length);
    const [part, prepared] = [grad.subarray(from, to), tile.subarray(0, to - from)];
    prepare(part, prepared, preparation);
    sweep(data.subarray(from, to), prepared, from);
    if (preparation.zero) part.fill(0);
  }
}

/** Steps the matrices with sparse gradients. */
function stepMatrices(plan: Plan, from: number, to: number): void {
  const [first, end] = plan.sparse.range(from, to);
  for (const step of plan.sparse.steps.slice(first, end)) {
    const { data, buffer, dtype, group } = plan.entryAt(step.row);
    const { lines, factors } = choose(plan, dtype as WideDtype, group, step.first);
    const matrix = { data, buffer, dtype } as Matrix;
    const sweep = chooseSweep(data.length);
    stepSparse(step, lines, matrix, (p, g, b) => {
      sweep(dtype as WideDtype, lines, factors, p, g, b, 0);
    });
  }
}
