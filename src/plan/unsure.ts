/**
 * Momentum buffers that a device has written or not: it decides by itself whether a step is skipped, and
 * the host has not asked it yet. Their rows have the state `MAYBE`.
 *
 * A buffer is unsure by itself, not in its row, so that it stays unsure when it leaves the row.
 */

import { deviceOf } from "../core/dtype.ts";
import type { Device, DeviceTensor, Tensor } from "../core/dtype.ts";
import type { StateArray } from "../memory/slab.ts";
import { LATER, MAYBE, stateOf } from "./layout.ts";
import type { TensorTable } from "./tensor_table.ts";

const unsure = new WeakSet<StateArray>();

/** A row whose momentum buffer may have been written. */
export interface UnsureRow {
  readonly row: number;
  readonly buffer: DeviceTensor;
}

/** The state of a row with a momentum buffer that it had before this step. */
export function stateOfBuffer(buffer: StateArray | null): number {
  return buffer !== null && unsure.has(buffer) ? MAYBE : LATER;
}

/** A step that may have been skipped was the first one of a momentum buffer. */
export function setUnsure(buffer: StateArray): void {
  unsure.add(buffer);
}

/** A momentum buffer has been written, or is not in use any more. */
export function setSure(buffer: StateArray): void {
  unsure.delete(buffer);
}

/**
 * The rows before `end` that a step was certainly taken of have written their buffers.
 *
 * @param isBuffered Whether a group has momentum: otherwise the step has not touched the buffer.
 */
export function settleStepped(
  table: TensorTable,
  end: number,
  isBuffered: (group: number) => boolean,
): void {
  for (let row = 0; row < end; row++) {
    if (stateOf(table.halves, row) !== MAYBE || !isBuffered(table.groupAt(row))) continue;
    setSure(table.buffers[row]!);
    table.setState(row, LATER);
  }
}

/** The rows whose momentum buffers are unsure, by device. */
export function findUnsure(
  count: number,
  bufferAt: (row: number) => Tensor | null,
): Map<Device, UnsureRow[]> {
  const rows = new Map<Device, UnsureRow[]>();
  for (let row = 0; row < count; row++) {
    const buffer = bufferAt(row);
    if (buffer === null || !unsure.has(buffer)) continue;
    const device = deviceOf(buffer)!;
    const entry = { row, buffer: buffer as DeviceTensor };
    if (rows.get(device)?.push(entry) === undefined) rows.set(device, [entry]);
  }
  return rows;
}
