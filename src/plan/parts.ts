/**
 * The calls of a step on another thread: the rows that each of them takes, and the arrays that keep
 * the memory of these rows alive.
 */

import { FLOAT32 } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { bufferOf } from "../core/intrinsics.ts";
import { refusal } from "../core/validate.ts";
import { isObject } from "../memory/slab.ts";
import type { StateArray } from "../memory/slab.ts";
import type { CallRange } from "./changes.ts";
import type { Plan } from "./plan.ts";

/**
 * The most buffers that one row uses: data, values, indices, momentum buffer and rows in use of a matrix
 * with a sparse gradient.
 */
const MOST_OF_ROW = 5;

/**
 * Splits rows of a plan into ranges, one per native call. If they are all rows, the ranges are kept
 * until a row has another array, which one with a sparse gradient has at every step.
 *
 * @param maxPins The most buffers that a call can keep alive, if up to so many are wanted.
 */
export function callRangesOf(
  plan: Plan,
  from: number,
  to: number,
  maxPins: (wanted: number) => number,
): readonly CallRange[] {
  const { table, addends } = plan;
  const { perRow, perCall } = mostPins(plan);
  const most = maxPins(perRow * (to - from) + perCall);
  const isUsual = addends.count === 0 && plan.average === null;
  if (to - from < table.count || !isUsual) return divide(plan, from, to, most);
  const { callRanges: known } = table.changes;
  if (known?.every(({ pins }) => pins.length <= most)) return known;
  const divided = divide(plan, from, to, most);
  table.changes.keepCallRanges(divided);
  return divided;
}

/** The most buffers that one row of a step uses, and those of the tables that all rows share. */
function mostPins({ addends, average }: Plan): { perRow: number; perCall: number } {
  const averages = average === null ? 0 : 1;
  return { perRow: MOST_OF_ROW + addends.count + averages, perCall: 1 + averages };
}

function divide(plan: Plan, from: number, to: number, most: number): readonly CallRange[] {
  const { table, addends } = plan;
  const { perRow, perCall } = mostPins(plan);
  checkRoom(addends.count, most - perCall - (perRow - addends.count));
  const ranges: CallRange[] = [];
  let pins = new PinList(plan);
  let begin = from;
  for (let row = from; row < to; row++) {
    if (pins.list.length > most - perRow) {
      ranges.push({ from: begin, to: row, pins: pins.list });
      [pins, begin] = [new PinList(plan), row];
    }
    const kind = table.gradientKind(row);
    if (kind === "dense" || kind === "sparse") pinRow(plan, row, pins);
    const average = plan.average?.of(row) ?? null;
    if (average === null) continue;
    pins.add(table.datas[row] as HostArray);
    pins.add(average);
  }
  ranges.push({ from: begin, to, pins: pins.list });
  return ranges;
}

/** Refuses more gradients of one parameter than a call can keep alive. */
function checkRoom(lists: number, most: number): void {
  if (lists <= most) return;
  const needed = `stepAsync adds at most ${most} lists`;
  throw new RangeError(refusal("add gradients", needed, lists, "number"));
}

function pinRow({ table, sparse, addends }: Plan, row: number, pins: PinList): void {
  const matrix = sparse.find(row);
  const grad = matrix?.values ?? table.grads[row];
  if (grad === null) return; // a sparse one of an empty matrix
  pins.add(table.datas[row] as HostArray);
  pins.add(grad as HostArray);
  addends.of(row)?.forEach((array) => pins.add(array));
  if (matrix !== undefined) {
    pins.add(matrix.indices);
    if (matrix.used !== null) pins.add(matrix.used.bits);
  }
  pins.addHeld(table.buffers[row]);
  if (table.masters.length > 0) pins.addHeld(table.masters[row]);
}

/** One array on each of some buffers. */
class PinList {
  readonly list: ArrayBufferView[] = [];
  readonly #buffers = new Set<unknown>();

  constructor({ addends, average }: Plan) {
    if (addends.count > 0) this.add(addends.words);
    if (average !== null) this.add(average.words);
  }

  add(array: HostArray | Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): void {
    const buffer = bufferOf(array);
    if (this.#buffers.has(buffer)) return;
    this.#buffers.add(buffer);
    this.list.push(array);
  }

  addHeld(held: StateArray | null): void {
    if (held === null) return;
    // An array on a slab is not an object, but the whole slab can be one.
    if (isObject(held)) this.add(held as HostArray);
    else if (!this.#buffers.has(held.buffer)) this.add(held.whole(FLOAT32));
  }
}
