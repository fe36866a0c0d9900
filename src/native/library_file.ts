/** Looks at the file of a native library before the system's loader does, as far as that is allowed. */

import { probe, withFile } from "../files/probe.ts";
import type { Found, ReadAt } from "../files/probe.ts";
import { requiredSize } from "./image.ts";
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
  let found: Found | null;
  try {
    found = probe(path);
  } catch (error) {
    return { kind: "other", reason: `cannot be looked at: ${(error as Error).message}` };
  }
  if (found === null) return MISSING;
  if (found.kind !== "a file") return { kind: "other", reason: `is ${found.kind}, not a file` };
  const required = size ?? ask(path, requiredSize) ?? 0;
  if (size === undefined ? found.size >= required : found.size === required) {
    const reason = ask(path, findDamage);
    return reason === null ? null : { kind: "damaged", reason };
  }
  const must = `must have ${size === undefined ? "at least " : ""}${required} bytes`;
  return { kind: "damaged", reason: `${must}: it has ${found.size}` };
}

/** Asks something about the contents of a file; null if they cannot be read: the loader says why. */
function ask<T>(path: string, question: (read: ReadAt) => T): T | null {
  try {
    return withFile(path, question);
  } catch {
    return null;
  }
}
