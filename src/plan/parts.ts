/**
 * The calls of a step on another thread: the rows that each of them takes, and the arrays that keep
 * the memory of these rows alive.
 */

import { FLOAT32 } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { bufferOf } from "../core/intrinsics.ts";
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
  const { table } = plan;
  const most = maxPins(MOST_OF_ROW * (to - from));
  if (to - from < table.count) return divide(plan, from, to, most);
  const { callRanges: known } = table.changes;
  if (known?.every(({ pins }) => pins.length <= most)) return known;
  const divided = divide(plan, from, to, most);
  table.changes.keepCallRanges(divided);
  return divided;
}

function divide(plan: Plan, from: number, to: number, most: number): readonly CallRange[] {
  const { table } = plan;
  const ranges: CallRange[] = [];
  let pins = new PinList();
  let begin = from;
  for (let row = from; row < to; row++) {
    if (pins.list.length > most - MOST_OF_ROW) {
      ranges.push({ from: begin, to: row, pins: pins.list });
      [pins, begin] = [new PinList(), row];
    }
    const kind = table.gradientKind(row);
    if (kind === "dense" || kind === "sparse") pinRow(plan, row, pins);
  }
  ranges.push({ from: begin, to, pins: pins.list });
  return ranges;
}

function pinRow({ table, sparse }: Plan, row: number, pins: PinList): void {
  const matrix = sparse.find(row);
  const grad = matrix?.values ?? table.grads[row];
  if (grad === null) return; // a sparse one of an empty matrix
  pins.add(table.datas[row] as HostArray);
  pins.add(grad as HostArray);
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

  add(array: HostArray | Uint32Array<ArrayBuffer>): void {
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
