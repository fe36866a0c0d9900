/** Looks at the file of a native library before the system's loader does, as far as that is allowed. */

import { requiredSize } from "./image.ts";
import type { ReadAt } from "./image.ts";
import { findDamage } from "./image_contents.ts";

/** What is wrong with a file. */
export interface Flaw {
  /** Whether nothing is there, something that is not a file, or a file that is not whole. */
  readonly kind: "missing" | "other" | "damaged";
  /** What it is, to go after its name. */
  readonly reason: string;
}

/** The flaw of what is not there. */
export const MISSING: Flaw = { kind: "missing", reason: "does not exist" };

/**
 * What is wrong with the file of a library; null if it may be opened. Needs read permission.
 *
 * A pipe would be waited for, and a file that is cut short or has zeros in the place of its tables
 * would end the process.
 *
 * @param path The file.
 * @param size Its bytes, if they are known.
 */
export function findFlaw(path: string, size?: number): Flaw | null {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    return explain(error);
  }
  if (!info.isFile) return { kind: "other", reason: `is ${kindOf(info)}, not a file` };
  const required = size ?? ask(path, requiredSize) ?? 0;
  if (size === undefined ? info.size >= required : info.size === required) {
    const reason = ask(path, findDamage);
    return reason === null ? null : { kind: "damaged", reason };
  }
  const must = `must have ${size === undefined ? "at least " : ""}${required} bytes`;
  return { kind: "damaged", reason: `${must}: it has ${info.size}` };
}

function explain(error: unknown): Flaw {
  const { errors } = Deno;
  const isMissing = error instanceof errors.NotFound || error instanceof errors.NotADirectory;
  return isMissing
    ? MISSING
    : { kind: "other", reason: `cannot be looked at: ${(error as Error).message}` };
}

function kindOf(info: Deno.FileInfo): string {
  if (info.isDirectory) return "a folder";
  if (info.isFifo) return "a pipe";
  if (info.isSocket) return "a socket";
  return "a device";
}

/** Asks something about the contents of a file; null if they cannot be read: the loader says why. */
function ask<T>(path: string, question: (read: ReadAt) => T): T | null {
  let file: Deno.FsFile | undefined;
  try {
    file = Deno.openSync(path, { read: true });
    return question((at, length) => readAt(file!, at, length));
  } catch {
    return null;
  } finally {
    file?.close();
  }
}

function readAt(file: Deno.FsFile, at: number, length: number): DataView {
  if (!Number.isSafeInteger(at)) return new DataView(new ArrayBuffer(0));
  const bytes = new Uint8Array(length);
  file.seekSync(at, Deno.SeekMode.Start);
  let done = 0;
  while (done < length) {
    const count = file.readSync(bytes.subarray(done));
    if (count === null) break;
    done += count;
  }
  return new DataView(bytes.buffer, 0, done);
}
