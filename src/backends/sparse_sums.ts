/** Sums of the entries of sparse gradients that name the same row. */

import type { WideDtype } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import type { SparseRows } from "../plan/sparse.ts";
import { loopsOf } from "./js/loops/loops.ts";
import { plain } from "./js/plain_views.ts";

/**
 * The gradient with one entry for each row that it names: the sum of the row's entries, in their order.
 * Its arrays are new.
 */
export function sumEntries({ indices, values, columns }: SparseRows, dtype: WideDtype): SparseRows {
  const own = { indices: indices.slice(), values: dtype.zeros(values.length), columns };
  own.values.set(plain(values));
  const firsts = foldEntries(own, dtype);
  let count = 0;
  firsts.forEach((first, entry) => {
    if (first !== entry) return;
    own.indices[count] = indices[entry];
    own.values.copyWithin(count++ * columns, entry * columns, (entry + 1) * columns);
  });
  return {
    indices: own.indices.subarray(0, count),
    values: own.values.subarray(0, count * columns),
    columns,
  };
}

/**
 * Adds entries up in place: the first entry of a row becomes the sum of all of them, in their order, and
 * the others become zeros.
 *
 * @returns For each entry the first one of its row.
 */
export function foldEntries(
  { indices, values, columns }: SparseRows,
  dtype: WideDtype,
): Uint32Array {
  const { add } = loopsOf(dtype);
  const all = plain(values);
  const entryAt = (entry: number) => all.subarray(entry * columns, (entry + 1) * columns);
  const firsts = firstEntries(indices);
  firsts.forEach((first, entry) => {
    if (first === entry) return;
    const term: FloatArray = entryAt(entry);
    add(entryAt(first), term);
    term.fill(0);
  });
  return firsts;
}

/** For each entry the first one that names the same row, which most often is itself. */
function firstEntries(indices: Uint32Array): Uint32Array {
  const firsts = new Map<number, number>();
  return indices.map((row, entry) => {
    const first = firsts.get(row) ?? entry;
    if (first === entry) firsts.set(row, entry);
    return first;
  });
}
