/** The memory that the rows of a plan are about. */

import type { Entry } from "./entry.ts";
import { checkFree } from "./in_use.ts";
import { Written } from "./overlap.ts";
import { FLOAT32 } from "./parameter.ts";
import type { SparseTable } from "./sparse.ts";
import { BUFFER, DATA, GRAD, MASTER, readWord, ROW } from "./tables.ts";

/** Rows, in halves of words, and what they were written from. */
interface Table {
  readonly halves: Uint32Array;
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
export function writtenOf({ entries, halves }: Table): Written {
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
export function gradsOf({ entries, halves }: Table): Written {
  return new Written({
    count: entries.length,
    startOf: (i) => readWord(halves, i * ROW + GRAD),
    bytesOf: (i) => entries[i].grad === null ? 0 : entries[i].length * entries[i].dtype!.bytes,
    nameOf: (i) => entries[i].name("grad"),
  });
}

/**
 * Looks for what a step that is running elsewhere uses.
 *
 * @throws {Error} If it is one of the arrays.
 */
export function checkAllFree(
  { entries, sparse }: Pick<Table, "entries"> & { readonly sparse: SparseTable },
): void {
  for (const entry of entries) {
    const { data, grad, buffer, master } = entry;
    const arrays = { data, grad, "momentum buffer": buffer, "master weight": master };
    for (const [name, array] of Object.entries(arrays)) {
      if (array !== null) checkFree(array, () => entry.name(name as keyof typeof arrays));
    }
  }
  for (const { row, values } of sparse.steps) {
    checkFree(values, () => `values of ${entries[row].name("grad")}`);
  }
}
