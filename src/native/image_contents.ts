/**
 * Whether the file of a shared library holds what its headers point to.
 *
 * A copy whose space was reserved, and which a crash kept from being written, has the right length and
 * zeros at its end or in between. The system's loader follows what it finds there, and the process
 * ends with SIGSEGV. So the tables that loaders and programs need are looked at, and the machine code:
 * neither has whole blocks of zeros.
 *
 * What cannot be seen: zeros among constants and initial values, where zeros may be right; less than
 * a page of zeros in machine code, or less than a block in a table; and bytes that are wrong in
 * another way. Only a hash shows those, and `install` and `doctor` compare it.
 */

import type { ReadAt } from "../files/probe.ts";

/** Bytes of a file system's smallest block: no table has so many zeros. */
const BLOCK = 512;

/** Bytes of a page: no machine code has so many zeros. */
const PAGE = 4096;

/** Bytes that are looked at together. */
const PIECE = 1 << 18;

/** The most bytes of a table that is looked at as a whole. */
const MOST = 1 << 22;

/** A part of the file that is not what the headers say. */
class Damage {
  constructor(readonly reason: string) {}
}

/** A part of a file, in bytes. */
interface Part {
  readonly at: number;
  readonly bytes: number;
}

/** A part of a file, and where it goes in memory. */
interface Segment extends Part {
  readonly type: number;
  readonly flags: number;
  readonly address: number;
}

/**
 * What is wrong with the contents of an image: ELF, Mach-O or PE, of 64 bits.
 *
 * @param read Reads the file, which must be as long as its headers say.
 * @returns The reason, to go after "it"; null if nothing is found, and for other files.
 */
export function findDamage(read: ReadAt): string | null {
  const magic = read(0, 4);
  if (magic.byteLength < 4) return null;
  try {
    const check = CHECKS.get(magic.getUint32(0));
    if (check !== undefined) check(read);
    else if (magic.getUint16(0) === 0x4d5a) checkPe(read); // "MZ"
    return null;
  } catch (error) {
    if (error instanceof Damage) return error.reason;
    throw error;
  }
}

/** By the first four bytes. */
const CHECKS: ReadonlyMap<number, (read: ReadAt) => void> = new Map([
  [0x7f454c46, checkElf],
  [0xcffaedfe, checkMachO],
  [0xcafebabe, checkUniversal],
]);

function checkElf(read: ReadAt): void {
  const head = readPart(read, "header", { at: 0, bytes: 64 });
  const isLittle64 = head.getUint8(4) === 2 && head.getUint8(5) === 1;
  if (!isLittle64 || head.getUint16(54, true) !== 56) return;
  const segments = listSegments(read, head);
  checkSections(read, head);
  for (const segment of segments) {
    const [isLoaded, isCode] = [segment.type === 1, (segment.flags & 1) !== 0];
    if (isLoaded && isCode) refuseHoles(read, "machine code", segment, PAGE);
    if (segment.type === 2) checkDynamic(read, segment, segments);
  }
}

function listSegments(read: ReadAt, head: DataView): Segment[] {
  const [at, count] = [readLong(head, 32), head.getUint16(56, true)];
  const table = readPart(read, "segment table", { at, bytes: 56 * count });
  return Array.from({ length: count }, (_, i) => ({
    type: table.getUint32(56 * i, true),
    flags: table.getUint32(56 * i + 4, true),
    at: readLong(table, 56 * i + 8),
    address: readLong(table, 56 * i + 16),
    bytes: readLong(table, 56 * i + 32),
  }));
}

/** The table of sections is at the end of the file: zeros at the end are seen here. */
function checkSections(read: ReadAt, head: DataView): void {
  const [at, count] = [readLong(head, 40), head.getUint16(60, true)];
  if (at === 0 || count === 0 || head.getUint16(58, true) !== 64) return;
  const what = "section table";
  const table = readPart(read, what, { at, bytes: 64 * count });
  const typeOf = (i: number) => table.getUint32(64 * i + 4, true);
  const partOf = (i: number): Part => ({
    at: readLong(table, 64 * i + 24),
    bytes: readLong(table, 64 * i + 32),
  });
  const ofNames = head.getUint16(62, true);
  const isTable = typeOf(0) === 0 && ofNames < count && typeOf(ofNames) === STRINGS;
  if (!isTable) throw damaged(what, at);
  const names = readStrings(read, "names of sections", partOf(ofNames));
  for (let i = 1; i < count; i++) {
    const name = table.getUint32(64 * i, true);
    if (typeOf(i) === 0 || name >= names.byteLength || names.getUint8(name) === 0) {
      throw damaged(what, at + 64 * i);
    }
    const kind = TABLES.get(typeOf(i));
    if (kind !== undefined) refuseHoles(read, kind, partOf(i), BLOCK);
  }
}

/** The type of a section of strings. */
const STRINGS = 3;

/** Sections that never have a block of zeros, by their types. */
const TABLES: ReadonlyMap<number, string> = new Map([
  [4, "relocations"],
  [11, "symbols"],
]);

/** What the loader follows: it takes each of these numbers for an address. */
function checkDynamic(read: ReadAt, part: Segment, segments: readonly Segment[]): void {
  const what = "table for the loader";
  const table = readPart(read, what, part);
  const values = new Map<number, number>();
  for (let at = 0; at + 16 <= table.byteLength && !values.has(0); at += 16) {
    values.set(readLong(table, at), readLong(table, at + 8));
  }
  const [strings, symbols, bytes] = [5, 6, 10].map((tag) => values.get(tag));
  const place = (address: number | undefined) =>
    segments.find((segment) =>
      segment.type === 1 && address !== undefined && address >= segment.address &&
      address < segment.address + segment.bytes
    );
  const [home, isWhole] = [place(strings), values.has(0) && place(symbols) !== undefined];
  if (home === undefined || bytes === undefined || !isWhole) throw damaged(what, part.at);
  readStrings(read, "strings", { at: home.at + strings! - home.address, bytes });
}

function checkMachO(read: ReadAt): void {
  const bytes = readPart(read, "header", { at: 0, bytes: 32 }).getUint32(20, true);
  const table = readPart(read, "load commands", { at: 32, bytes });
  for (let at = 0; at + 8 <= bytes;) {
    const length = table.getUint32(at + 4, true);
    if (length < 8 || at + length > bytes) throw damaged("load commands", 32 + at);
    checkCommand(read, new DataView(table.buffer, table.byteOffset + at, length));
    at += length;
  }
}

function checkCommand(read: ReadAt, command: DataView): void {
  const type = command.getUint32(0, true);
  const word = (at: number) => command.getUint32(at, true);
  if (type === 0x19 && command.byteLength >= 72) { // a segment of 64 bits
    for (let at = 72; at + 80 <= command.byteLength; at += 80) {
      const isCode = (word(at + 64) & 0x80000000) !== 0;
      const part = { at: word(at + 48), bytes: readLong(command, at + 40) };
      if (isCode && part.at > 0) refuseHoles(read, "machine code", part, PAGE);
    }
  } else if (type === 2 && command.byteLength >= 24) {
    refuseHoles(read, "symbols", { at: word(8), bytes: 16 * word(12) }, BLOCK);
    refuseHoles(read, "strings", { at: word(16), bytes: word(20) }, BLOCK);
  } else if (type === 0x1d && command.byteLength >= 16) {
    const [at, bytes] = [word(8), word(12)];
    const signature = readPart(read, "signature", { at, bytes });
    if (bytes < 12 || signature.getUint32(0) !== 0xfade0cc0) throw damaged("signature", at);
  }
}

/** A file with an image for each of several processors. */
function checkUniversal(read: ReadAt): void {
  const count = readPart(read, "header", { at: 0, bytes: 8 }).getUint32(4);
  const table = readPart(read, "table of images", { at: 8, bytes: 20 * count });
  for (let i = 0; i < count; i++) {
    const start = table.getUint32(20 * i + 8);
    const image: ReadAt = (at, length) => read(start + at, length);
    const magic = readPart(image, "image", { at: 0, bytes: 4 }).getUint32(0);
    if (magic === 0) throw damaged("image", start);
    if (magic === 0xcffaedfe) checkMachO(image);
  }
}

function checkPe(read: ReadAt): void {
  const start = readPart(read, "header", { at: 0, bytes: 64 }).getUint32(60, true);
  const head = readPart(read, "header", { at: start, bytes: 24 });
  if (head.getUint32(0) !== 0x50450000) return; // "PE\0\0"
  const [count, bytes] = [head.getUint16(6, true), head.getUint16(20, true)];
  const optional = readPart(read, "header", { at: start + 24, bytes });
  const isLong = bytes >= 160 && optional.getUint16(0, true) === 0x20b;
  const table = readPart(read, "section table", { at: start + 24 + bytes, bytes: 40 * count });
  for (let at = 0; at < table.byteLength; at += 40) {
    const [used, address, stored, place] = [8, 12, 16, 20].map((i) =>
      table.getUint32(at + i, true)
    );
    const part = { at: place, bytes: Math.min(used, stored) };
    const isCode = (table.getUint32(at + 36, true) & 0x20) !== 0;
    if (isCode) refuseHoles(read, "machine code", part, PAGE);
    if (!isLong) continue;
    const relocations = optional.getUint32(152, true);
    if (relocations < address || relocations >= address + part.bytes) continue;
    const from = place + relocations - address;
    checkRelocations(read, { at: from, bytes: optional.getUint32(156, true) });
  }
}

/** They are the last section: blocks, each with its own length, which end where the headers say. */
function checkRelocations(read: ReadAt, part: Part): void {
  const table = readPart(read, "relocations", part);
  let at = 0;
  while (at + 8 <= table.byteLength) {
    const length = table.getUint32(at + 4, true);
    if (length < 8) throw damaged("relocations", part.at + at);
    at += length;
  }
  if (at !== table.byteLength) throw damaged("relocations", part.at);
}

/** A part of the file as a whole; what is larger than any table of a library is damage. */
function readPart(read: ReadAt, what: string, { at, bytes }: Part): DataView {
  const view = bytes <= MOST ? read(at, bytes) : undefined;
  if (view?.byteLength !== bytes) throw damaged(what, at);
  return view;
}

/** Texts, each with a zero behind it, of which the first is empty. */
function readStrings(read: ReadAt, what: string, part: Part): DataView {
  const view = readPart(read, what, part);
  const last = view.byteLength - 1;
  const isClosed = last > 0 && view.getUint8(0) === 0 && view.getUint8(last) === 0;
  if (!isClosed) throw damaged(what, part.at);
  // A run path that was taken out leaves many zeros behind, but never a page of them, or nothing else.
  refuseHoles(read, what, part, Math.min(PAGE, Math.max(8, last - last % 8)));
  return view;
}

/** Refuses a part that has a block of zeros, counted from its own beginning. */
function refuseHoles(read: ReadAt, what: string, { at, bytes }: Part, block: number): void {
  for (let from = 0; from < bytes; from += PIECE) {
    const length = Math.min(PIECE, bytes - from);
    const view = read(at + from, length);
    if (view.byteLength < length) throw damaged(what, at + from);
    for (let place = 0; place + block <= length; place += block) {
      if (isZero(view, place, block)) throw damaged(what, at + from + place);
    }
  }
}

function isZero(view: DataView, at: number, bytes: number): boolean {
  for (let i = at; i < at + bytes; i += 8) if (view.getFloat64(i) !== 0) return false;
  return true;
}

function damaged(what: string, at: number): Damage {
  return new Damage(`must have its ${what} at byte ${at}: there are zeros or other bytes`);
}

/** A number of 64 bits; beyond 2^53 it is not exact, but larger than any file. */
function readLong(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}
