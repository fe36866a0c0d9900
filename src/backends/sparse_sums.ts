/** Sums of the entries of sparse gradients that name the same row. */

import type { WideDtype } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import { lengthOf, part } from "../core/intrinsics.ts";
import type { SparseRows } from "../plan/sparse.ts";
import { loopsOf } from "./js/loops/loops.ts";

/**
 * The gradient with one entry for each row that it names: the sum of the row's entries, in their order.
 *
 * @param memory Where its values go: at least as many elements as those of the gradient.
 */
export function sumEntries(
  { indices, values, columns }: SparseRows,
  dtype: WideDtype,
  memory: FloatArray,
): SparseRows {
  const given = plainView(values);
  const own = { indices: indices.slice(), values: memory.subarray(0, given.length), columns };
  own.values.set(given);
  const firsts = foldEntries(own, dtype);
  let count = 0;
  firsts.forEach((first, entry) => {
    if (first !== entry) return;
    own.indices[count] = indices[entry];
    if (count < entry) {
      own.values.copyWithin(count * columns, entry * columns, (entry + 1) * columns);
    }
    count++;
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
  const all = plainView(values);
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

/** The same elements, whatever properties and methods the array itself has. */
function plainView(values: FloatArray): FloatArray {
  return part(values, 0, lengthOf(values)) as FloatArray;
}
