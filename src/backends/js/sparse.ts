/** Sparse gradients on the `js` backend; `kernels/src/sparse/mod.rs` says what comes out and when. */

import type { WideDtype } from "../../core/dtype.ts";
import type { FloatArray } from "../../core/host_array.ts";
import type { Lines } from "../../core/rule.ts";
import type { SparseStep } from "../../plan/sparse.ts";
import { loopsOf } from "./loops/loops.ts";

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
  if (lines.momentum !== "later") return forEachRow(step, dtype, stepRow);
  const quiet = dtype.zeros(columns);
  let next = 0;
  forEachRow(step, dtype, (row, grad) => {
    for (; next < row; next++) stepRow(next, quiet);
    stepRow(next++, grad);
  });
  for (const rows = data.length / columns; next < rows; next++) stepRow(next, quiet);
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
