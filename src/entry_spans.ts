/** The memory that the rows of a plan are about. */

import { checkFree } from "./in_use.ts";
import { findOverlap, overlapError, Written } from "./overlap.ts";
import { FLOAT32, label } from "./parameter.ts";
import type { Parameter, Tensor } from "./parameter.ts";
import type { SparseTable } from "./sparse.ts";
import { BUFFER, DATA, GRAD, MASTER, readWord, ROW } from "./tables.ts";
import { isObject } from "./tensor_memory.ts";
import type { TensorTable } from "./tensor_table.ts";

/** The arrays that a step writes of a parameter, and where their addresses are in a row. */
const WRITTEN = [
  { word: DATA, name: "data" },
  { word: BUFFER, name: "momentum buffer" },
  { word: MASTER, name: "master weight" },
] as const;

/**
 * What a step writes: all data, the slabs of the optimizer's own arrays, and those that lie elsewhere.
 *
 * @throws {RangeError} If some of it overlaps.
 */
export function writtenOf(table: TensorTable): Written {
  const { count, halves, slabs } = table;
  const ofRows = (table.hasObjects ? WRITTEN.length : 1) * count;
  const arrayOf = (span: number) => WRITTEN[Math.floor(span / count)];
  return new Written({
    count: ofRows + slabs.length,
    startOf: (span) =>
      span < ofRows
        ? readWord(halves, span % count * ROW + arrayOf(span).word)
        : slabs[span - ofRows].start,
    bytesOf: (span) =>
      span < ofRows
        ? bytesOf(table, span % count, arrayOf(span).word)
        : slabs[span - ofRows].byteLength,
    nameOf: (span, start, end) =>
      span < ofRows
        ? table.name(span % count, arrayOf(span).name)
        : table.nameOn(slabs[span - ofRows], start, end),
  });
}

/** Bytes of an array of a row that is an object. */
function bytesOf(table: TensorTable, row: number, word: number): number {
  const length = table.lengthAt(row);
  const { dtype, bufferType } = table.typesAt(row);
  if (word === DATA) return length * dtype.bytes;
  const held = word === BUFFER ? table.buffers[row] : table.masters[row] ?? null;
  if (!isObject(held)) return 0;
  return length * (word === BUFFER ? bufferType : FLOAT32).bytes;
}

/**
 * All gradients that are tensors.
 *
 * @throws {RangeError} If two of them overlap.
 */
export function gradsOf(table: TensorTable): Written {
  const { count, halves, grads } = table;
  return new Written({
    count,
    startOf: (row) => readWord(halves, row * ROW + GRAD),
    bytesOf: (row) =>
      grads[row] === null ? 0 : table.lengthAt(row) * table.typesAt(row).dtype.bytes,
    nameOf: (row) => table.name(row, "grad"),
  });
}

/**
 * Checks the data of parameters that become members.
 *
 * @throws {RangeError} If they overlap, or a parameter is there twice.
 */
export function checkDataApart(
  table: TensorTable,
  parameterAt: (row: number) => Parameter<Tensor>,
): void {
  const { count, halves } = table;
  const bytesOf = (row: number) => table.lengthAt(row) * table.typesAt(row).dtype.bytes;
  const startOf = (row: number) => readWord(halves, row * ROW + DATA);
  const nameOf = (row: number) => table.name(row, "data");
  const overlap = findOverlap({ count, startOf, bytesOf, nameOf });
  if (overlap !== null) {
    const [a, b] = overlap.sort((a, b) => a - b);
    if (parameterAt(a) === parameterAt(b)) throw repeated(parameterAt(b), b);
    throw overlapError(nameOf(a), nameOf(b));
  }
  const empty = new Set<Parameter<Tensor>>(); // what has no data overlaps nothing
  for (let row = 0; row < count; row++) {
    if (table.lengthAt(row) > 0) continue;
    const parameter = parameterAt(row);
    if (empty.has(parameter)) throw repeated(parameter, row);
    empty.add(parameter);
  }
}

function repeated(parameter: Parameter<Tensor>, row: number): RangeError {
  return new RangeError(
    `Cannot add ${label(parameter, row)} as it must be in one group only, once`,
  );
}

/** What the rows of a plan are about. */
interface Tables {
  readonly table: TensorTable;
  readonly sparse: SparseTable;
}

/** All tensors of a step, slabs as one each, with their names. Nothing of the user's is asked. */
function* tensorsOf(
  { table, sparse }: Tables,
): Generator<readonly [tensor: Tensor, name: () => string]> {
  const matrices = new Map(sparse.steps.map(({ row, values }) => [row, values]));
  for (const slab of table.slabs) {
    yield [slab.whole(FLOAT32), () => table.nameOn(slab, 0, Infinity)];
  }
  for (let row = 0; row < table.count; row++) {
    const grad = table.grads[row] ?? matrices.get(row);
    if (grad === undefined) continue;
    const [buffer, master] = [table.buffers[row], table.masters[row] ?? null];
    yield [table.datas[row], () => table.name(row, "data")];
    yield [grad, () => table.name(row, "grad")];
    if (isObject(buffer)) yield [buffer, () => table.name(row, "momentum buffer")];
    if (isObject(master)) yield [master, () => table.name(row, "master weight")];
  }
}

/** The tensors that a step reads or writes. */
export function tensorsIn(tables: Tables): Tensor[] {
  return Array.from(tensorsOf(tables), ([tensor]) => tensor);
}

/**
 * Looks for what a step that is running elsewhere uses.
 *
 * @throws {Error} If it is one of the tensors.
 */
export function checkAllFree(tables: Tables): void {
  for (const [tensor, name] of tensorsOf(tables)) checkFree(tensor, name);
}
