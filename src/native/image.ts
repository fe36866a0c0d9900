/**
 * How long the file of a shared library must be, by its own headers.
 *
 * A system's loader maps what the headers name without a look at the file's length. If the file was
 * not copied whole, the process ends with SIGBUS as soon as it touches what is missing.
 */

import type { ReadAt } from "../files/probe.ts";

/** The most bytes of tables that are read. */
const MOST = 1 << 22;
const MACH_SEGMENT = 0x19;

/**
 * The bytes that an image must have at least: ELF, Mach-O or PE, of 64 bits.
 *
 * @param read Reads the file.
 * @returns The bytes; 0 for other files, of which the loader says what they are.
 */
export function requiredSize(read: ReadAt): number {
  const magic = read(0, 4);
  if (magic.byteLength < 4) return 0;
  const sizes = FORMATS.get(magic.getUint32(0));
  if (sizes !== undefined) return sizes(exactly(read));
  return magic.getUint16(0) === 0x4d5a ? sizeOfPe(exactly(read)) : 0; // "MZ"
}

/** A place of the file that is not there: its end. */
class Beyond {
  constructor(readonly end: number) {}
}

/** By the first four bytes. */
const FORMATS: ReadonlyMap<number, (read: ReadAt) => number> = new Map([
  [0x7f454c46, sizeOfElf],
  [0xcffaedfe, sizeOfMachO],
  [0xcafebabe, sizeOfUniversal],
]);

/** Reads all that it is asked for; what is not there ends the search. */
function exactly(read: ReadAt): ReadAt {
  return (at, length) => {
    if (length > MOST) throw new Beyond(0); // no library has so many: the loader may judge it
    const view = read(at, length);
    if (view.byteLength < length) throw new Beyond(at + length);
    return view;
  };
}

/** The largest of some ends, or that of the headers themselves if they are cut short. */
function largest(ends: () => Iterable<number>): number {
  let most = 0;
  try {
    for (const end of ends()) most = Math.max(most, end);
    return most;
  } catch (error) {
    if (error instanceof Beyond) return Math.max(most, error.end);
    throw error;
  }
}

function sizeOfElf(read: ReadAt): number {
  return largest(function* () {
    const head = read(0, 64);
    const isLittle64 = head.getUint8(4) === 2 && head.getUint8(5) === 1;
    if (!isLittle64) return;
    const [segments, sections] = [readLong(head, 32), readLong(head, 40)];
    const [segmentBytes, segmentCount] = [head.getUint16(54, true), head.getUint16(56, true)];
    yield sections + head.getUint16(58, true) * head.getUint16(60, true);
    const table = read(segments, segmentBytes * segmentCount);
    for (let at = 0; segmentBytes >= 56 && at < table.byteLength; at += segmentBytes) {
      const bytes = readLong(table, at + 32);
      if (bytes > 0) yield readLong(table, at + 8) + bytes;
    }
  });
}

function sizeOfMachO(read: ReadAt): number {
  return largest(function* () {
    const commands = read(0, 32).getUint32(20, true);
    const table = read(32, commands);
    for (let at = 0; at + 8 <= commands;) {
      const bytes = table.getUint32(at + 4, true);
      if (bytes < 8 || at + bytes > commands) return;
      if (table.getUint32(at, true) === MACH_SEGMENT && bytes >= 56) {
        yield readLong(table, at + 40) + readLong(table, at + 48);
      }
      at += bytes;
    }
  });
}

/** A file with an image for each of several processors. */
function sizeOfUniversal(read: ReadAt): number {
  return largest(function* () {
    const count = read(0, 8).getUint32(4);
    const table = read(8, 20 * count);
    for (let at = 0; at < table.byteLength; at += 20) {
      yield table.getUint32(at + 8) + table.getUint32(at + 12);
    }
  });
}

function sizeOfPe(read: ReadAt): number {
  return largest(function* () {
    const start = read(0, 64).getUint32(60, true);
    const head = read(start, 24);
    if (head.getUint32(0) !== 0x50450000) return; // "PE\0\0"
    const [count, optional] = [head.getUint16(6, true), head.getUint16(20, true)];
    const table = read(start + 24 + optional, 40 * count);
    for (let at = 0; at < table.byteLength; at += 40) {
      const bytes = table.getUint32(at + 16, true);
      if (bytes > 0) yield table.getUint32(at + 20, true) + bytes;
    }
  });
}

/** A number of 64 bits; beyond 2^53 it is not exact, but larger than any file. */
function readLong(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}
