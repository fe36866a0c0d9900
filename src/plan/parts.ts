/**
 * Parts of a step that runs beside JavaScript's thread: the rows that one call takes, and arrays that
 * keep the memory of all of them alive.
 */

import { FLOAT32 } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { bufferOf } from "../core/intrinsics.ts";
import { isObject } from "../memory/slab.ts";
import type { StateArray } from "../memory/slab.ts";
import type { Plan } from "./plan.ts";
import type { SparseStep } from "./sparse.ts";
import type { Part } from "./tensor_table.ts";

/** The most buffers that one row uses: data, values, indices, momentum buffer, master weight. */
const MOST_OF_ROW = 5;

/**
 * Rows of a plan in parts. Those of all rows are kept until one has another array, unless gradients are
 * sparse: their indices are new at every step.
 *
 * @param maxPins The most buffers that a part can use, where up to so many are wanted.
 */
export function partsOf(
  plan: Plan,
  from: number,
  to: number,
  maxPins: (wanted: number) => number,
): readonly Part[] {
  const { table, sparse } = plan;
  const most = maxPins(MOST_OF_ROW * (to - from));
  const isKept = to - from === table.count && sparse.steps.length === 0;
  if (!isKept) return divide(plan, from, to, most);
  const isKnown = table.parts?.every(({ pins }) => pins.length <= most) ?? false;
  if (!isKnown) table.parts = divide(plan, from, to, most);
  return table.parts!;
}

function divide(plan: Plan, from: number, to: number, most: number): readonly Part[] {
  const { table, sparse: { steps } } = plan;
  const parts: Part[] = [];
  let pins = new PinList();
  let begin = from;
  let step = steps.findIndex(({ row }) => row >= from);
  for (let row = from; row < to; row++) {
    if (pins.list.length > most - MOST_OF_ROW) {
      parts.push({ from: begin, to: row, pins: pins.list });
      [pins, begin] = [new PinList(), row];
    }
    const matrix = steps[step]?.row === row ? steps[step++] : undefined;
    const isStepped = table.grads[row] !== null || matrix !== undefined;
    const isHere = table.typesAt(row).dtype.device === undefined;
    if (isStepped && isHere) pinRow(plan, row, matrix, pins);
  }
  parts.push({ from: begin, to, pins: pins.list });
  return parts;
}

function pinRow({ table }: Plan, row: number, matrix: SparseStep | undefined, pins: PinList): void {
  pins.add(table.datas[row] as HostArray);
  pins.add((matrix?.values ?? table.grads[row]) as HostArray);
  if (matrix !== undefined) pins.add(matrix.indices);
  pins.addHeld(table.buffers[row]);
  if (table.masters.length > 0) pins.addHeld(table.masters[row]);
}

/** Arrays that lie in different buffers. */
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
    // What is on a slab is no object, but the whole slab can be one.
    if (isObject(held)) this.add(held as HostArray);
    else if (!this.#buffers.has(held.buffer)) this.add(held.whole(FLOAT32));
  }
}
