/** The memory that the rows of a plan are about. */

import type { ArrayName, Entry } from "./entry.ts";
import { checkFree } from "./in_use.ts";
import { Written } from "./overlap.ts";
import { FLOAT32 } from "./parameter.ts";
import type { Tensor } from "./parameter.ts";
import type { SparseTable } from "./sparse.ts";
import { BUFFER, DATA, GRAD, MASTER, readWord, ROW } from "./tables.ts";

/** Rows, in halves of words, and what they were written from. */
interface Table {
  readonly table: { readonly halves: Uint32Array };
  readonly entries: readonly Entry[];
}

/** What a step writes of a parameter, and where its address is in a row. */
const WRITTEN = [
  { word: DATA, name: "data" },
  { word: BUFFER, name: "momentum buffer" },
  { word: MASTER, name: "master weight" },
] as const;

/**
 * What a step writes: all data, all momentum buffers and all master weights, empty while there is none.
 *
 * @throws {RangeError} If some of it overlaps.
 */
export function writtenOf({ entries, table: { halves } }: Table): Written {
  const { length } = entries;
  const kindOf = (span: number) => Math.floor(span / length);
  return new Written({
    count: WRITTEN.length * length,
    startOf: (span) => readWord(halves, span % length * ROW + WRITTEN[kindOf(span)].word),
    bytesOf: (span) => bytesOf(entries[span % length], WRITTEN[kindOf(span)].word),
    nameOf: (span) => entries[span % length].name(WRITTEN[kindOf(span)].name),
  });
}

function bytesOf({ length, dtype, buffer, bufferType, master }: Entry, word: number): number {
  if (word === DATA) return length * dtype!.bytes;
  if (word === BUFFER) return buffer === null ? 0 : length * bufferType!.bytes;
  return master === null ? 0 : length * FLOAT32.bytes;
}

/**
 * All gradients that are tensors.
 *
 * @throws {RangeError} If two of them overlap.
 */
export function gradsOf({ entries, table: { halves } }: Table): Written {
  return new Written({
    count: entries.length,
    startOf: (i) => readWord(halves, i * ROW + GRAD),
    bytesOf: (i) => entries[i].grad === null ? 0 : entries[i].length * entries[i].dtype!.bytes,
    nameOf: (i) => entries[i].name("grad"),
  });
}

/** What the rows of a plan are about. */
type Tables = Pick<Table, "entries"> & { readonly sparse: SparseTable };

/** All tensors of a step, with the entry that they belong to. Nothing of the user's is asked. */
function* tensorsOf({ entries, sparse }: Tables): Generator<[Tensor, Entry, ArrayName]> {
  const matrices = new Map(sparse.steps.map(({ row, values }) => [row, values]));
  for (const entry of entries) {
    const { data, buffer, master } = entry;
    const grad = entry.grad ?? matrices.get(entry.index);
    if (grad === undefined) continue;
    yield [data!, entry, "data"];
    yield [grad, entry, "grad"];
    if (buffer !== null) yield [buffer, entry, "momentum buffer"];
    if (master !== null) yield [master, entry, "master weight"];
  }
}

/** The tensors that a step reads or writes. */
export function arraysOf(tables: Tables): Tensor[] {
  return Array.from(tensorsOf(tables), ([tensor]) => tensor);
}

/**
 * Looks for what a step that is running elsewhere uses.
 *
 * @throws {Error} If it is one of the tensors.
 */
export function checkAllFree(tables: Tables): void {
  for (const [tensor, entry, name] of tensorsOf(tables)) checkFree(tensor, () => entry.name(name));
}
