/**
 * Which rows of a matrix are in use: those whose momentum buffer a sparse gradient has ever written.
 *
 * All other rows of the buffer are +0. A step without an entry for such a row changes neither the row
 * nor its buffer, to the bit, so that steps leave it out. Only matrices whose momentum buffer began
 * with a sparse gradient have a set of rows: where there is none, every row may be in use.
 */

import type { HostArray } from "../core/host_array.ts";
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf } from "../core/intrinsics.ts";

/** Bits of a word, of which the lowest is that of the first row. */
const BITS = 32;

/** Rows of one matrix. Steps add to them, also in native code. */
export class RowsInUse {
  /** A bit for each row; the lowest bit of a word comes first. */
  readonly bits: Uint32Array<ArrayBuffer>;

  /**
   * @param rows The number of rows of the matrix.
   * @param columns The elements of a row.
   */
  constructor(readonly rows: number, readonly columns: number) {
    this.bits = new Uint32Array(Math.ceil(rows / BITS));
  }

  /** Whether a row is in use. */
  has(row: number): boolean {
    return (this.bits[row / BITS | 0] >>> row % BITS & 1) !== 0;
  }

  /** Adds a row. */
  add(row: number): void {
    this.bits[row / BITS | 0] |= 1 << row % BITS;
  }

  /** Adds every row. */
  addAll(): void {
    for (let row = 0; row < this.rows; row++) this.add(row);
  }

  /** As state dicts have them: a byte for each row, 1 for one in use. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: this.rows }, (_, row) => Number(this.has(row)));
  }
}

/** The rows in use of matrices, by their rows of the table. */
export class RowSets {
  #sets = new Map<number, RowsInUse>();

  /**
   * The rows in use of the matrix of a step whose arrays have been made; null if all may be.
   *
   * @param length The elements of the matrix.
   */
  of(
    { row, first, columns }: { row: number; first: boolean; columns: number },
    length: number,
  ): RowsInUse | null {
    const known = this.#sets.get(row);
    if (!first && (known === undefined || known.columns === columns)) return known ?? null;
    const used = new RowsInUse(length / columns, columns);
    if (!first) used.addAll(); // rows of another length were in use
    this.#sets.set(row, used);
    return used;
  }

  /** A byte for each row. An empty matrix has none. */
  bytesOf(row: number): Uint8Array<ArrayBuffer> {
    return this.#sets.get(row)?.toBytes() ?? new Uint8Array(0);
  }

  /** Takes rows in use, of a momentum buffer that is loaded. */
  set(row: number, used: RowsInUse): void {
    this.#sets.set(row, used);
  }

  /**
   * Follows rows of the table into another order.
   *
   * @param order For each row, the row that it was.
   */
  arrange(order: readonly number[]): void {
    const sets = this.#sets;
    if (sets.size === 0) return;
    this.#sets = new Map(
      order.flatMap((was, row) => sets.has(was) ? [[row, sets.get(was)!] as const] : []),
    );
  }

  /** Forgets the rows of a momentum buffer that is replaced. */
  delete(row: number): void {
    this.#sets.delete(row);
  }
}

/** What a state dict has of a parameter. */
interface Saved {
  readonly row: number;
  readonly momentumBuffer: HostArray | null;
  readonly rowsInUse?: Uint8Array | null;
}

/**
 * How a momentum buffer of a dict began: as in torch, where it is a dense tensor, with a dense gradient
 * unless the dict has the rows in use.
 *
 * @returns The row, and the rows in use, or null; nothing if there is no buffer.
 */
export function readBeginning(
  { row, momentumBuffer, rowsInUse }: Saved,
): { row: number; used: RowsInUse | null }[] {
  if (momentumBuffer === null) return [];
  return [{ row, used: rowsInUse ? readRowsInUse(rowsInUse, momentumBuffer) : null }];
}

/**
 * Reads rows that have been checked. A row of the buffer that has a bit set is in use whatever the
 * dict says, so that nothing of the buffer is lost.
 */
function readRowsInUse(bytes: Uint8Array, buffer: HostArray): RowsInUse {
  const rows = bytes.length;
  const used = new RowsInUse(rows, rows === 0 ? 0 : lengthOf(buffer) / rows);
  const words = new Uint32Array(bufferOf(buffer), byteOffsetOf(buffer), byteLengthOf(buffer) / 4);
  const width = rows === 0 ? 0 : words.length / rows;
  for (let row = 0; row < rows; row++) {
    if (bytes[row] !== 0 || hasBits(words, row * width, (row + 1) * width)) used.add(row);
  }
  return used;
}

function hasBits(words: Uint32Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (words[i] !== 0) return true;
  return false;
}
