/** The header that all ranks exchange before they do anything together: 64 bytes of each. */

import { hashOfWords } from "../core/hash.ts";
import type { Hash } from "../core/hash.ts";

/** Words of a header. */
export const HEADER = 16;

/** Counts up with every change of what ranks tell each other: those of other versions are refused. */
const PROTOCOL = 1;

const VERSION = 0;
const OPERATION = 1;
const FLAGS = 2;
const STEP = 3;
const HASH = 4;
/** The only word that may differ: how many bytes a rank gives to the others. */
const BYTES = 6;

const ENDED = 1;

/** What ranks do together. The numbers are in headers. */
export const OPERATIONS = {
  end: 0,
  barrier: 1,
  broadcast: 2,
  sum: 3,
  gather: 4,
  construct: 5,
  step: 6,
  load: 7,
  save: 8,
  zeros: 9,
  verify: 10,
  unscale: 11,
  take: 12,
  arrange: 13,
  complete: 14,
} as const;

/** The name of something that ranks do together. */
export type Operation = keyof typeof OPERATIONS;

/** Writes a header. */
export function writeHeader(
  header: Uint32Array,
  operation: Operation,
  { step, hash, bytes }: { step: number; hash: Hash; bytes: number },
): void {
  header.fill(0);
  header[VERSION] = PROTOCOL;
  header[OPERATION] = OPERATIONS[operation];
  header[FLAGS] = operation === "end" ? ENDED : 0;
  header[STEP] = step;
  header[HASH] = hash[0];
  header[HASH + 1] = hash[1];
  header[BYTES] = bytes;
}

/** Whether all headers say the same, but for the bytes that follow. */
export function agree(headers: Uint32Array): boolean {
  for (let at = HEADER; at < headers.length; at++) {
    const word = at % HEADER;
    if (word !== BYTES && headers[at] !== headers[word]) return false;
  }
  return true;
}

/** How many bytes each rank gives to the others. */
export function sizesIn(headers: Uint32Array): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    { length: headers.length / HEADER },
    (_, i) => headers[i * HEADER + BYTES],
  );
}

/** The hash of an array's bytes. */
export function hashOfBytes({ buffer, byteOffset, byteLength }: ArrayBufferView): Hash {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  if (byteOffset % 4 === 0 && byteLength % 4 === 0) {
    return hashOfWords(new Uint32Array(buffer, byteOffset, byteLength / 4));
  }
  const words = new Uint32Array(Math.ceil(byteLength / 4));
  new Uint8Array(words.buffer).set(bytes);
  return hashOfWords(words);
}
