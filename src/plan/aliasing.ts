/** Checks that the memory a step writes does not overlap anything else the step uses. */

import { FLOAT32 } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import { byteLengthOf } from "../core/intrinsics.ts";
import { label } from "../core/parameter.ts";
import type { ArrayName, Parameter } from "../core/parameter.ts";
import { cannot } from "../core/validate.ts";
import { assertUnlocked, isCurrent, measureMemory } from "../memory/locks.ts";
import type { Memory } from "../memory/locks.ts";
import { createSpans, findOverlap, overlapError, sortApart, Written } from "../memory/overlap.ts";
import type { NamedSpan, Spans } from "../memory/overlap.ts";
import { isObject } from "../memory/slab.ts";
import type { StateArray } from "../memory/slab.ts";
import type { RowAverages } from "./averages.ts";
import { BUFFER, DATA, GRAD, MASTER, readWord, ROW } from "./layout.ts";
import type { AddedGradients } from "./layout.ts";
import type { SparseTable } from "./sparse.ts";
import type { TensorTable } from "./tensor_table.ts";

/** The checks of one plan, which look only at what has changed. */
export class AliasChecker {
  /** Made where it is needed: it takes a third of the memory of the table. */
  #written: Written | null = null;
  readonly #table: TensorTable;
  readonly #sparse: SparseTable;
  readonly #address: (array: FloatArray) => number;

  constructor(table: TensorTable, sparse: SparseTable, address: (array: FloatArray) => number) {
    this.#table = table;
    this.#sparse = sparse;
    this.#address = address;
  }

  /**
   * Checks data, the optimizer's own arrays, and dense gradients. Gradients may share memory with each
   * other.
   *
   * @throws {RangeError} If any other arrays overlap.
   */
  check(): void {
    this.#table.changes.settleWritten(this.#compare);
  }

  readonly #compare = (rows: readonly number[] | null) => {
    if (rows !== null) return this.#compareGrads(this.written, rows);
    this.#written = null;
    if (!hasNoAlias(this.#table)) this.#compareGrads(writtenOf(this.#table), null);
  };

  /** What the step writes, as of the last `check`. */
  get written(): Written {
    return this.#written ??= writtenOf(this.#table);
  }

  /** Refuses gradients, of some rows or of all, that overlap what a step writes. */
  #compareGrads(written: Written, rows: readonly number[] | null): void {
    const spans = spansOfGrads(this.#table, rows);
    const at = written.findMeeting(spans);
    if (at < 0) return;
    const name = this.#table.name(rows === null ? at : rows[at], "grad");
    throw written.refusal(spans.starts[at], spans.ends[at], name);
  }

  /**
   * Checks the values of sparse gradients, after `check`.
   *
   * @throws {RangeError} If they overlap what the step writes.
   */
  checkValues(): void {
    this.#compareValues(this.written);
  }

  #compareValues(written: Written): void {
    for (const { row, values } of this.#sparse.steps) {
      const start = this.#address(values);
      const end = start + byteLengthOf(values);
      const span = { starts: Float64Array.of(start), ends: Float64Array.of(end) };
      if (written.findMeeting(span) < 0) continue;
      throw written.refusal(start, end, `values of ${this.#table.name(row, "grad")}`);
    }
  }

  /**
   * Checks that gradients can be written, which they can if no two of them share memory.
   *
   * @throws {RangeError} If two of them overlap.
   */
  checkGradients(): void {
    if (this.#sparse.steps.length > 0) this.#compareValues(gradsOf(this.#table));
    else this.#table.changes.settleGradients(() => gradsOf(this.#table));
  }
}

/** The words of the arrays that a step writes. */
const WRITTEN = [DATA, BUFFER, MASTER] as const;

/** Whether no two arrays of a step overlap. Gradients that share memory make it false, too. */
export function hasNoAlias(table: TensorTable): boolean {
  const { count, grads } = table;
  const spans = spansOfWritten(table, count);
  const first = spans.starts.length - count;
  for (let row = 0; row < count; row++) {
    const isThere = grads[row] !== null;
    if (isThere) fill(spans, first + row, table, row, GRAD);
  }
  return sortApart(spans);
}

/**
 * What a step writes.
 *
 * @throws {RangeError} If some of it overlaps.
 */
export function writtenOf(table: TensorTable): Written {
  const list = () => WRITTEN.flatMap((word) => listArrays(table, word));
  return new Written(spansOfWritten(table, 0), list);
}

/** All data, and those of the optimizer's own arrays that others can see; then room for more spans. */
function spansOfWritten(table: TensorTable, room: number): Spans {
  const { count, hasObjects, buffers, masters } = table;
  const spans = createSpans((hasObjects ? WRITTEN.length * count : count) + room);
  for (let row = 0; row < count; row++) {
    fill(spans, row, table, row, DATA);
    if (!hasObjects) continue;
    if (isObject(buffers[row])) fill(spans, count + row, table, row, BUFFER);
    if (isObject(masters[row] ?? null)) fill(spans, 2 * count + row, table, row, MASTER);
  }
  return spans;
}

/** The spans of the gradients of some rows, or of all; empty where there is none. */
export function spansOfGrads(table: TensorTable, rows: readonly number[] | null): Spans {
  const count = rows === null ? table.count : rows.length;
  const spans = createSpans(count);
  for (let i = 0; i < count; i++) {
    const row = rows === null ? i : rows[i];
    if (table.grads[row] !== null) fill(spans, i, table, row, GRAD);
  }
  return spans;
}

/**
 * All gradients that are tensors.
 *
 * @throws {RangeError} If two of them overlap.
 */
export function gradsOf(table: TensorTable): Written {
  return new Written(spansOfGrads(table, null), () => listArrays(table, GRAD));
}

/**
 * Checks the data of all parameters, some of which are to become members.
 *
 * @throws {RangeError} If they overlap, or a parameter is there twice.
 */
export function checkNoDataAlias(
  table: TensorTable,
  parameters: readonly Parameter<Tensor>[],
): void {
  const spans = createSpans(table.count);
  const empty = new Set<Parameter<Tensor>>();
  const unusable = new Set<number>();
  for (let row = 0; row < table.count; row++) {
    const { data } = parameters[row];
    if (data !== table.datas[row] || !table.hasDataAt(row)) {
      unusable.add(row); // such as detached data: other arrays may have its memory
      continue;
    }
    fill(spans, row, table, row, DATA);
    if (table.lengthAt(row) > 0) continue; // what has no data overlaps nothing
    if (empty.has(parameters[row])) throw repeated(parameters[row], row);
    empty.add(parameters[row]);
  }
  if (sortApart(spans)) return;
  const list = listArrays(table, DATA);
  for (const row of unusable) list[row] = { ...list[row], end: list[row].start };
  const [a, b] = findOverlap(list)!;
  if (parameters[a] === parameters[b]) throw repeated(parameters[b], b);
  throw overlapError(table.name(a, "data"), table.name(b, "data"));
}

/** Fills in the span of an array whose address is in a row. */
function fill(
  { starts, ends }: Spans,
  span: number,
  table: TensorTable,
  row: number,
  word: number,
): void {
  const bytes = table.sizeOf(row, word);
  if (bytes === 0) return;
  starts[span] = readWord(table.halves, row * ROW + word);
  ends[span] = starts[span] + bytes;
}

/** One array of each row, by its name and in order; an empty span where there is none. */
function listArrays(table: TensorTable, word: Word): NamedSpan[] {
  const spans = createSpans(table.count);
  const column = {
    [DATA]: table.datas,
    [GRAD]: table.grads,
    [BUFFER]: table.buffers,
    [MASTER]: table.masters,
  }[word];
  for (let row = 0; row < table.count; row++) {
    if ((column[row] ?? null) !== null) fill(spans, row, table, row, word);
  }
  return Array.from(spans.starts, (start, row) => {
    return { start, end: spans.ends[row], name: table.name(row, nameOf(table, row, word)) };
  });
}

/** The words that are addresses. */
type Word = typeof WRITTEN[number] | typeof GRAD;

function nameOf(table: TensorTable, row: number, word: Word): ArrayName {
  if (word === DATA) return "data";
  if (word === GRAD) return "grad";
  return word === BUFFER ? table.momentumName(row) : table.masterName;
}

function repeated(parameter: Parameter<Tensor>, row: number): RangeError {
  return new RangeError(
    cannot(`add ${label(parameter, row)}`, "it must be in one group only, once"),
  );
}

/** The tables of a plan whose tensors are listed. */
interface Tables {
  readonly table: TensorTable;
  readonly sparse: SparseTable;
}

/**
 * Calls `visit` with each tensor of a step, and with each slab as one tensor: while the step runs,
 * the user may read `state`, which makes arrays on it. No user code (getters) runs here.
 */
function forEachTensor(
  { table, sparse }: Tables,
  visit: (tensor: Tensor, row: number, name: ArrayName) => void,
): void {
  let slab: StateArray | null = null;
  const visitHeld = (held: StateArray | null, row: number, name: ArrayName) => {
    if (held === null || held === slab) return;
    if (isObject(held)) return visit(held as Tensor, row, name);
    slab = held; // those of neighboring rows are mostly on one slab
    visit(held.whole(FLOAT32), row, name);
  };
  for (let row = 0; row < table.count; row++) {
    const grad = table.grads[row] ?? sparse.find(row)?.values;
    if (grad === undefined) continue;
    visit(table.datas[row], row, "data");
    visit(grad, row, "grad");
    visitHeld(table.buffers[row], row, table.momentumName(row));
    if (table.masters.length > 0) visitHeld(table.masters[row], row, table.masterName);
  }
}

/**
 * The memory of the tensors that a step reads or writes, measured when an array has changed, or there
 * are gradients that it adds to its own or averages of parameters that it leaves alone.
 */
export function memoryIn(
  tables: Tables & { readonly addends: AddedGradients; readonly average: RowAverages | null },
): Memory {
  const { addends, average, table: { changes } } = tables;
  const known = changes.memory;
  const others = [...addends.arrays, ...average?.resting ?? []];
  if (known !== null && isCurrent(known) && others.length === 0) return known;
  const tensors: Tensor[] = [...others];
  forEachTensor(tables, (tensor) => tensors.push(tensor));
  if (others.length > 0) return measureMemory(tensors);
  const memory = measureMemory(tensors);
  changes.keepMemory(memory);
  return memory;
}

/**
 * Looks for what a step that is running elsewhere uses.
 *
 * @throws {Error} If it is one of the tensors.
 */
export function assertAllUnlocked(tables: Tables): void {
  const { table } = tables;
  forEachTensor(tables, (tensor, row, name) => {
    assertUnlocked(tensor, () => table.name(row, name));
  });
}
