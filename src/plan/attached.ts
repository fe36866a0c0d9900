/**
 * Finds arrays whose buffer was detached or resized after their row was written.
 *
 * Nothing here calls the user's code, unless there is a name to be read for an error.
 */

import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { isObject } from "../memory/slab.ts";
import type { SparseTable } from "./sparse.ts";
import type { TensorTable } from "./tensor_table.ts";

/**
 * Looks at all arrays of the rows that have a dense gradient.
 *
 * The memory of an array is fixed: it is as long as it was, or it has no elements at all. No property
 * and no class can pretend that a typed array has an element, and reading one is faster than any getter.
 *
 * @returns The name of the first detached array; null if there is none.
 */
export function findDetached(table: TensorTable): string | null {
  const { datas, grads, hasObjects } = table;
  for (let row = 0; row < grads.length; row++) {
    const grad = grads[row];
    if (grad === null) continue;
    if (hasElements(datas[row]) && hasElements(grad) && !hasObjects) continue;
    const name = findDetachedOf(table, row);
    if (name !== null) return name;
  }
  return null;
}

/** Looks at the data of all parameters, also of those that a step skips. */
export function findDetachedData(table: TensorTable): string | null {
  const row = table.datas.findIndex((data, row) => !hasElements(data) && !table.hasDataAt(row));
  return row < 0 ? null : table.name(row, "data");
}

/** Looks at the data and the state of all parameters from a row on. */
export function findDetachedState(table: TensorTable, first: number): string | null {
  for (let row = first; row < table.count; row++) {
    const name = table.hasDataAt(row) ? findDetachedOwn(table, row) : table.name(row, "data");
    if (name !== null) return name;
  }
  return null;
}

/**
 * Looks at all arrays of the rows that have a sparse gradient.
 *
 * @param nameOf What errors call the values, from the name of the gradient.
 */
export function findDetachedSparse(
  { table, sparse }: { readonly table: TensorTable; readonly sparse: SparseTable },
  nameOf: (grad: string) => string,
): string | null {
  for (const { row, values, indices, columns } of sparse.steps) {
    const isThere = lengthOf(values) === indices.length * columns;
    const name = isThere ? findDetachedOf(table, row) : nameOf(table.name(row, "grad"));
    if (name !== null) return name;
  }
  return null;
}

/** Looks at the arrays of one row. */
function findDetachedOf(table: TensorTable, row: number): string | null {
  const types = table.typesAt(row);
  const grad = table.grads[row];
  if (!table.hasDataAt(row)) return table.name(row, "data");
  if (grad !== null && !table.fits(row, grad, types.gradType)) return table.name(row, "grad");
  return findDetachedOwn(table, row);
}

/** Looks at the state of one row. */
function findDetachedOwn(table: TensorTable, row: number): string | null {
  if (!table.hasObjects) return null;
  const types = table.typesAt(row);
  const length = table.lengthAt(row);
  const [buffer, master] = [table.buffers[row], table.masters[row] ?? null];
  const isGone = isObject(buffer) && !types.momentum.fits(buffer, length);
  if (isGone) return table.name(row, table.momentumName(row));
  const isMasterGone = isObject(master) && !types.master.fits(master, length);
  return isMasterGone ? table.name(row, table.masterName) : null;
}

/** Whether it is an array that is not empty, and so not detached. Tensors on devices never seem so. */
function hasElements(tensor: Tensor): boolean {
  return (tensor as HostArray)[0] !== undefined;
}
