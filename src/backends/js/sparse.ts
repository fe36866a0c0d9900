/** Sparse gradients on the `js` backend; `kernels/src/sparse/mod.rs` says what comes out and when. */

import type { WideDtype } from "../../core/dtype.ts";
import type { FloatArray } from "../../core/host_array.ts";
import type { Lines } from "../../core/rule.ts";
import type { RowsInUse } from "../../plan/rows_in_use.ts";
import type { SparseStep } from "../../plan/sparse.ts";
import { loopsOf } from "./loops/loops.ts";

/** Elements that are stepped at a time in rows without entries. */
const ZEROS = 4096;

/** Steps neighboring elements. */
type Sweep = (data: FloatArray, grad: FloatArray, buffer: FloatArray | null) => void;

/** What a step writes. */
export interface Matrix {
  readonly data: FloatArray;
  readonly buffer: FloatArray | null;
  readonly dtype: WideDtype;
}

/** Steps one matrix row by row. */
export function stepSparse(
  step: SparseStep,
  lines: Lines,
  { data, buffer, dtype }: Matrix,
  sweep: Sweep,
): void {
  const { indices, columns } = step;
  const stepRow = (row: number, grad: FloatArray) => {
    const [from, to] = [row * columns, (row + 1) * columns];
    sweep(data.subarray(from, to), grad, buffer && buffer.subarray(from, to));
  };
  if (lines.momentum === "none" && !lines.sign) {
    indices.forEach((row, entry) => stepRow(row, entryOf(step, entry)));
    return;
  }
  const { used } = step;
  if (lines.momentum !== "none" && used !== null) indices.forEach((row) => used.add(row));
  if (lines.momentum !== "later") return forEachRow(step, dtype, stepRow);
  const zeros = dtype.zeros(Math.min(ZEROS, data.length));
  const stepWithoutEntries = (begin: number, end: number) =>
    forEachRun(used, begin, end, (from, to) => {
      for (let at = from * columns; at < to * columns; at += ZEROS) {
        const next = Math.min(at + ZEROS, to * columns);
        sweep(data.subarray(at, next), zeros.subarray(0, next - at), buffer!.subarray(at, next));
      }
    });
  let next = 0;
  forEachRow(step, dtype, (row, grad) => {
    stepWithoutEntries(next, row);
    stepRow(row, grad);
    next = row + 1;
  });
  stepWithoutEntries(next, data.length / columns);
}

/** Calls `body` for each run of rows in use, of all rows from `begin` to `end` that may be. */
function forEachRun(
  used: RowsInUse | null,
  begin: number,
  end: number,
  body: (from: number, to: number) => void,
): void {
  if (used === null) return body(begin, end);
  for (let from = begin, to = begin; from < end; from = to) {
    while (to < end && used.has(to)) to++;
    if (to > from) body(from, to);
    while (to < end && !used.has(to)) to++;
  }
}

/** Calls `body` once for each row that has entries, in rising order, with the sum of these. */
function forEachRow(
  step: SparseStep,
  dtype: WideDtype,
  body: (row: number, grad: FloatArray) => void,
): void {
  const { indices } = step;
  const { add } = loopsOf(dtype);
  const order = Array.from(indices.keys()).sort((a, b) => indices[a] - indices[b] || a - b);
  for (let i = 0; i < order.length;) {
    const row = indices[order[i]];
    let grad = entryOf(step, order[i++]);
    if (indices[order[i]] === row) grad = grad.slice();
    for (; indices[order[i]] === row; i++) add(grad, entryOf(step, order[i]));
    body(row, grad);
  }
}

function entryOf({ values, columns }: SparseStep, entry: number): FloatArray {
  return values.subarray(entry * columns, (entry + 1) * columns);
}
