/** The `js` backend: no library, no permission, wherever TypeScript runs. */

import { isSixteenBit } from "../parameter.ts";
import type { FloatArray, WideDtype } from "../parameter.ts";
import type { Plan } from "../plan.ts";
import { factorsOf, linesOf } from "../rule.ts";
import type { Factors, Lines } from "../rule.ts";
import { readGroup } from "../tables.ts";
import { TILE } from "../wasm/kernel.ts";
import { allocate } from "../wasm/workspace.ts";
import type { Backend } from "./backend.ts";
import { addNorms, preparationOf, prepare, scaleGradients } from "./js_gradients.ts";
import type { Preparation } from "./js_gradients.ts";
import { stepSixteenBit } from "./js_sixteen_bit.ts";
import { stepSparse } from "./js_sparse.ts";
import { chooseSweep } from "./js_sweep.ts";
import { goBack } from "./js_vjp.ts";

/** Each buffer gets a range of addresses of its own, as JavaScript does not tell the real ones. */
const bases = new WeakMap<ArrayBufferLike, number>();
let nextBase = 1;

/** What an entry of a plan holds that is on no device. */
interface HostArrays {
  readonly data: FloatArray;
  readonly grad: FloatArray;
  readonly buffer: FloatArray | null;
}

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
  step(plan: Plan, from: number, to: number): void {
    stepRows(plan, from, to, stepPlain);
  },
  stepWith(plan: Plan, from: number, to: number): void {
    stepRows(plan, from, to, ({ dtype, lines, factors, group }, data, grad, buffer) => {
      const preparation = preparationOf(plan, group, dtype);
      const sweep = chooseSweep(data.length);
      sweepPrepared(preparation, data, grad, buffer, (p, g, b) => {
        sweep(dtype, lines, factors, p, g, b);
      });
    });
  },
  stepAsync: (plan, from, to) => Promise.try(() => js.stepWith(plan, from, to)),
  norm: addNorms,
  normAsync: (...args) => Promise.try(() => addNorms(...args)),
  scale: scaleGradients,
  goBack,
};

/** Steps one tensor. */
type StepTensor = (
  choice: Choice,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
) => void;

const stepPlain: StepTensor = ({ dtype, lines, factors }, data, grad, buffer) =>
  chooseSweep(data.length)(dtype, lines, factors, data, grad, buffer);

function stepRows(plan: Plan, from: number, to: number, stepTensor: StepTensor): void {
  let choice: Choice | undefined;
  for (let i = from; i < to; i++) {
    const entry = plan.entries[i];
    if (entry.grad === null || entry.dtype!.device !== undefined) continue;
    const { data, grad, buffer } = entry as HostArrays;
    const dtype = entry.dtype as WideDtype;
    if (isSixteenBit(dtype)) {
      const preparation = stepTensor === stepPlain ? null : preparationOf(plan, entry.group, dtype);
      stepSixteenBit(plan, entry, preparation);
      continue;
    }
    const first = entry.state.momentumBuffer === null;
    if (choice?.dtype !== dtype || choice.group !== entry.group || choice.first !== first) {
      choice = choose(plan, dtype, entry.group, first);
    }
    stepTensor(choice, data, grad, buffer);
  }
  if (plan.sparse.steps.length > 0) stepMatrices(plan, from, to);
}

/** Steps one tensor by gradients that are prepared a tile at a time. */
function sweepPrepared(
  preparation: Preparation,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  sweep: (data: FloatArray, grad: FloatArray, buffer: FloatArray | null) => void,
): void {
  const tile = grad.slice(0, TILE);
  for (let from = 0; from < grad.length; from += TILE) {
    const to = Math.min(from + TILE, grad.length);
    const [part, prepared] = [grad.subarray(from, to), tile.subarray(0, to - from)];
    prepare(part, prepared, preparation);
    sweep(data.subarray(from, to), prepared, buffer && buffer.subarray(from, to));
    if (preparation.zero) part.fill(0);
  }
}

/** Steps the matrices with sparse gradients. */
function stepMatrices(plan: Plan, from: number, to: number): void {
  const [first, end] = plan.sparse.range(from, to);
  for (const step of plan.sparse.steps.slice(first, end)) {
    const entry = plan.entries[step.row];
    const { data, buffer } = entry as HostArrays;
    const dtype = entry.dtype as WideDtype;
    const { lines, factors } = choose(plan, dtype, entry.group, step.first);
    const matrix = { data, buffer, dtype };
    const sweep = chooseSweep(data.length);
    stepSparse(step, lines, matrix, (p, g, b) => sweep(dtype, lines, factors, p, g, b));
  }
}
