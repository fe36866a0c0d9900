/** Steps the dense rows of a plan on the `js` backend, each in the way that is faster for it. */

import type { Dtype } from "../../core/dtype.ts";
import type { FloatArray, HostArray } from "../../core/host_array.ts";
import { fillAll } from "../../core/intrinsics.ts";
import { keyOf } from "../../core/momentum8.ts";
import { Slab } from "../../memory/slab.ts";
import type { StateArray } from "../../memory/slab.ts";
import {
  BUFFER,
  COUNTER,
  isHostRow,
  MASTER,
  readWord,
  ROW,
  SEED_HIGH,
  SEED_LOW,
} from "../../plan/layout.ts";
import type { CallRow } from "../../plan/layout.ts";
import type { Plan } from "../../plan/plan.ts";
import { choose, isFor } from "./choice.ts";
import type { Choice } from "./choice.ts";
import { preparedOf, stepByElement } from "./element_tiles.ts";
import { plain } from "./plain_views.ts";
import { randomOf, storeAtRandom } from "./random.ts";
import { plainOthers } from "./sums.ts";
import type { Terms } from "./sums.ts";
import { isSmall } from "./tiles.ts";
import { TILE } from "./wasm/memory.ts";
import type { Place } from "./wasm/state_part.ts";
import type { Arrays, Rounder } from "./wasm/sweep.ts";

/** Steps the rows `from <= row < to` that have a dense gradient. */
export function stepDenseRows(plan: Plan, from: number, to: number, call: CallRow | null): void {
  let choice: Choice | undefined;
  for (let row = from; row < to; row++) {
    if (!isHostRow(plan.halves, row)) continue;
    if (choice === undefined || !isFor(plan, row, choice)) choice = choose(plan, row, call);
    stepRow(plan, row, choice, call);
  }
}

function stepRow(plan: Plan, row: number, choice: Choice, call: CallRow | null): void {
  const { table, halves } = plan;
  const data = plain(table.datas[row] as HostArray);
  const grad = plain(table.grads[row] as HostArray);
  const held = choice.lines.momentum === "none" ? null : table.buffers[row];
  const { isPlain, numbers: { preparation }, lines, numbers: { factors }, loops } = choice;
  const isByElement = choice.isEach || isSmall(data.length);
  if (isByElement && isPlain && !choice.isSum && (preparation === null || data.length <= TILE)) {
    const [buffer, at] = elementsOf(plan, row, held, choice);
    const prepared = preparedOf(choice, grad as FloatArray);
    loops.step(lines, factors, data as FloatArray, prepared, buffer, at);
    if (preparation?.zero) fillAll(grad, 0);
    return;
  }
  const momentum = placeOf(held, halves, row * ROW + BUFFER);
  const master = choice.hasMaster ? placeOf(table.masters[row], halves, row * ROW + MASTER) : null;
  const terms = choice.isSum ? termsOf(plan, row, grad, choice) : null;
  stepArrays(choice, { data, grad, terms, momentum, master }, { row, call, isByElement });
}

function termsOf(
  { table, addends }: Plan,
  row: number,
  grad: HostArray,
  { isEach }: Choice,
): Terms {
  const dtype = table.typesAt(row).gradType as Dtype;
  return { grad, others: plainOthers(addends.of(row)), dtype, isEach };
}

interface How {
  readonly row: number;
  readonly call: CallRow | null;
  readonly isByElement: boolean;
}

function stepArrays(choice: Choice, arrays: Arrays, { row, call, isByElement }: How): void {
  const { momentum8, master } = choice.method.format;
  const random = call === null ? null : randomStateOf(call);
  const isKeyed = momentum8 || master === "split24";
  const numbers = isKeyed && random !== null
    ? { ...choice.numbers, key: keyOf(random, row) }
    : choice.numbers;
  const round = choice.isStochastic && call !== null ? rounderOf(call, row) : null;
  if (isByElement) stepByElement(choice, numbers, arrays, round);
  else choice.method.step(numbers, arrays, round);
}

function randomStateOf(call: CallRow): { seed: number; counter: number } {
  return { seed: call[SEED_LOW] + call[SEED_HIGH] * 2 ** 32, counter: call[COUNTER] };
}

function rounderOf(call: CallRow, row: number): Rounder {
  const random = randomOf(call, row);
  return (values, out, from) => storeAtRandom(values, out, random, from);
}

/** The elements of a momentum buffer of the parameter's type, and which of them is the first. */
function elementsOf(
  { halves }: Plan,
  row: number,
  held: StateArray | null,
  { dtype }: Choice,
): [buffer: FloatArray | null, at: number] {
  if (!(held instanceof Slab)) return [plain(held as FloatArray | null), 0];
  const at = held.indexOf(dtype, readWord(halves, row * ROW + BUFFER));
  return [held.whole(dtype) as FloatArray, at];
}

/** Where an array of the optimizer's own is. */
function placeOf(held: StateArray | null, halves: Uint32Array, word: number): Place | null {
  if (held === null) return null;
  if (held instanceof Slab) {
    return { buffer: held.buffer, offset: readWord(halves, word) - held.start };
  }
  const { buffer, byteOffset } = plain(held as HostArray);
  return { buffer, offset: byteOffset };
}
