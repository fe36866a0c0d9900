/** What a rank that fails leaves to be said to the others once the process ends. */

import type { Details } from "./details.ts";
import { HEADER, writeHeader } from "./header.ts";
import { bytesOfText } from "./texts.ts";

/** Hashes of headers that no other end of a rank has. */
const FAILED = 0xffffffff;

/**
 * What the others hear, as from `Meetings.end`: the header of the end, that of the details, and the
 * details.
 *
 * @param failure The message of the error.
 * @param step Steps that have been taken.
 */
export function goodbyeOf(failure: string, step: number): Uint8Array<ArrayBuffer> {
  const details = bytesOfText(
    JSON.stringify({ doing: null, step, failure, facts: 0 } satisfies Details),
  );
  const headers = new Uint32Array(2 * HEADER);
  const { length: bytes } = details;
  writeHeader(headers.subarray(0, HEADER), "end", { step, hash: [FAILED, bytes], bytes: 0 });
  writeHeader(headers.subarray(HEADER), "end", { step, hash: [0, 0], bytes });
  const all = new Uint8Array(headers.byteLength + bytes);
  all.set(new Uint8Array(headers.buffer));
  all.set(details, headers.byteLength);
  return all;
}
