/** The memory that the rows of a plan are about. */

import type { Entry } from "./entry.ts";
import { Written } from "./overlap.ts";
import { FLOAT32 } from "./parameter.ts";
import { BUFFER, DATA, GRAD, MASTER, ROW } from "./tables.ts";

/** Rows, and what they were written from. */
interface Table {
  readonly rows: BigUint64Array<ArrayBuffer>;
  readonly entries: readonly Entry[];
}

/** What a step writes of a parameter, and where its address is in a row. */
const WRITTEN = [
  { word: DATA, name: "data" },
  { word: BUFFER, name: "momentum buffer" },
  { word: MASTER, name: "master weight" },
] as const;

/**
 * What a step writes: data, momentum buffer and master weight, empty while there is none.
 *
 * @throws {RangeError} If some of it overlaps.
 */
export function writtenOf({ entries, rows }: Table): Written {
  const starts = new Float64Array(3 * entries.length);
  const ends = new Float64Array(3 * entries.length);
  for (const [i, { length, dtype, buffer, bufferType, master }] of entries.entries()) {
    const bytes = [dtype!.bytes, buffer && bufferType!.bytes, master && FLOAT32.bytes];
    for (const [k, each] of bytes.entries()) {
      starts[3 * i + k] = Number(rows[i * ROW + WRITTEN[k].word]);
      ends[3 * i + k] = starts[3 * i + k] + length * (each ?? 0);
    }
  }
  const nameOf = (i: number) => entries[Math.floor(i / 3)].name(WRITTEN[i % 3].name);
  return new Written(starts, ends, nameOf);
}

/**
 * All gradients that are tensors.
 *
 * @throws {RangeError} If two of them overlap.
 */
export function gradsOf({ entries, rows }: Table): Written {
  const dense = entries.filter(({ grad }) => grad !== null);
  const starts = Float64Array.from(dense, ({ index }) => Number(rows[index * ROW + GRAD]));
  const ends = starts.map((start, i) => start + dense[i].length * dense[i].dtype!.bytes);
  return new Written(starts, ends, (i) => dense[i].name("grad"));
}
