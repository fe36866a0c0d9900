/** The `js` backend: no library, no permission, wherever TypeScript runs. */

import { isSixteenBit } from "../../core/dtype.ts";
import type { WideDtype } from "../../core/dtype.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { factorsOf, linesOf } from "../../core/rule.ts";
import type { Factors, Lines } from "../../core/rule.ts";
import { promiseOf } from "../../core/runtime.ts";
import { objectAddressOf } from "../../memory/object_addresses.ts";
import { Slab } from "../../memory/slab.ts";
import {
  BUFFER,
  FIRST,
  groupOf,
  isHostRow,
  readGroup,
  readWord,
  ROW,
  stateOf,
} from "../../plan/layout.ts";
import type { CallRow } from "../../plan/layout.ts";
import type { Plan } from "../../plan/plan.ts";
import type { Backend } from "../backend.ts";
import { addNorms, scaleGradients } from "./gradients.ts";
import { loopsOf } from "./loops/loops.ts";
import type { WideLoops } from "./loops/loops.ts";
import { inspect, plain } from "./plain_views.ts";
import { preparationOf } from "./preparation.ts";
import type { Preparation } from "./preparation.ts";
import { stepSixteenBit } from "./sixteen_bit.ts";
import { stepSparse } from "./sparse.ts";
import type { Matrix } from "./sparse.ts";
import { chooseSweep, isSmall, sweepTiles } from "./tiles.ts";
import { goBack } from "./vjp.ts";
import { TILE } from "./wasm/kernel.ts";
import { allocate } from "./wasm/workspace.ts";

/** What rows of one dtype, group and state have in common. */
interface Choice {
  readonly dtype: WideDtype;
  readonly group: number;
  readonly first: boolean;
  readonly lines: Lines;
  readonly factors: Factors<number>;
  /** Null if gradients are taken as they are. */
  readonly preparation: Preparation | null;
  readonly loops: WideLoops;
}

function choose(
  plan: Plan,
  call: CallRow | null,
  dtype: WideDtype,
  group: number,
  first: boolean,
): Choice {
  const h = readGroup(plan.groupRows, group);
  return {
    ...{ dtype, group, first, lines: linesOf(h, first), factors: factorsOf(h, dtype.round) },
    preparation: call === null ? null : preparationOf(call, plan, group, dtype),
    loops: loopsOf(dtype),
  };
}

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
  norm: addNorms,
  normAsync: (plan, inverseScale, sums) => promiseOf(() => addNorms(plan, inverseScale, sums)),
  scale: scaleGradients,
  goBack,
};

/**
 * Steps one tensor, whose momentum buffer begins at element `at` of an array, by gradients that are
 * prepared if that is asked for.
 */
function stepTensor(
  choice: Choice,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  at: number,
): void {
  const { dtype, lines, factors, loops, preparation } = choice;
  if (preparation !== null) stepPrepared(choice, preparation, data, grad, buffer, at);
  else if (isSmall(data.length)) loops.step(lines, factors, data, grad, buffer, at);
  else sweepTiles(dtype, lines, factors, data, grad, buffer, at);
}

/** Steps one tensor by gradients that are prepared a tile at a time. */
function stepPrepared(
  { dtype, lines, factors, loops: { prepare } }: Choice,
  preparation: Preparation,
  data: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  at: number,
): void {
  const sweep = chooseSweep(data.length);
  const tile = tileOf(dtype);
  for (let from = 0; from < data.length; from += TILE) {
    const part = (array: FloatArray) =>
      array.length <= TILE ? array : array.subarray(from, from + TILE);
    const unprepared = part(grad);
    prepare(unprepared, tile, preparation);
    sweep(dtype, lines, factors, part(data), tile, buffer, at + from);
    if (preparation.zero) unprepared.fill(0);
  }
}

/** What a tile of gradients is prepared in, by dtype. */
const tiles = new Map<WideDtype, FloatArray>();

function tileOf(dtype: WideDtype): FloatArray {
  let tile = tiles.get(dtype);
  if (tile === undefined) tiles.set(dtype, tile = dtype.zeros(TILE));
  return tile;
}

function stepRows(plan: Plan, from: number, to: number, call: CallRow | null): void {
  const { table, halves } = plan;
  let choice: Choice | undefined;
  for (let row = from; row < to; row++) {
    if (!isHostRow(halves, row)) continue;
    const dtype = table.typesAt(row).dtype as WideDtype;
    const group = groupOf(halves, row);
    if (isSixteenBit(dtype)) {
      const preparation = call === null ? null : preparationOf(call, plan, group, dtype);
      stepSixteenBit(plan, plan.rowAt(row), preparation);
      continue;
    }
    const first = stateOf(halves, row) === FIRST;
    if (choice?.dtype !== dtype || choice.group !== group || choice.first !== first) {
      choice = choose(plan, call, dtype, group, first);
    }
    const data = plain(table.datas[row] as FloatArray);
    const grad = plain(table.grads[row] as FloatArray);
    const held = table.buffers[row];
    if (held instanceof Slab) {
      const at = held.indexOf(dtype, readWord(halves, row * ROW + BUFFER));
      stepTensor(choice, data, grad, held.whole(dtype) as FloatArray, at);
    } else stepTensor(choice, data, grad, plain(held as FloatArray | null), 0);
  }
  if (plan.sparse.steps.length > 0) stepMatrices(plan, from, to);
}

/** Steps the matrices with sparse gradients. */
function stepMatrices(plan: Plan, from: number, to: number): void {
  const [first, end] = plan.sparse.range(from, to);
  for (const step of plan.sparse.steps.slice(first, end)) {
    const { data, buffer, dtype, group } = plan.rowAt(step.row);
    const { lines, factors } = choose(plan, null, dtype as WideDtype, group, step.first);
    const arrays = { data: plain(data as FloatArray), buffer: plain(buffer as FloatArray | null) };
    const matrix: Matrix = { ...arrays, dtype: dtype as WideDtype };
    const sweep = chooseSweep(matrix.data.length);
    stepSparse({ ...step, values: plain(step.values) }, lines, matrix, (p, g, b) => {
      sweep(dtype as WideDtype, lines, factors, p, g, b, 0);
    });
  }
}
