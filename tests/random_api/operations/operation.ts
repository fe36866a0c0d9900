/** What a case is made of. */

import type { Random } from "../random.ts";
import type { World } from "../world.ts";

/** One call of the API, or a few. */
export interface Operation {
  readonly name: string;
  /** How often it is taken, among the others. */
  readonly weight: number;
  /** Whether nothing may have changed where it throws, as the documents say. */
  readonly atomic?: boolean;
  /** Does it; what it returns must be the same on every backend. */
  readonly run: (world: World, random: Random) => unknown;
}

/** The caller's own error. */
export class Mischief extends Error {}

/** Tries something within an operation, and notes how it went. */
export function attempt(world: World, name: string, body: () => unknown): unknown {
  try {
    const result = body();
    world.notes.push([name, "done"]);
    return result;
  } catch (error) {
    world.notes.push([name, textOf(error)]);
    return undefined;
  }
}

/** The same for what settles later. */
export async function attemptAsync(
  world: World,
  name: string,
  body: () => Promise<unknown>,
): Promise<unknown> {
  const note = [name, "done"]; // in the order of the calls, not in that in which they settle
  world.notes.push(note);
  try {
    return await body();
  } catch (error) {
    note[1] = textOf(error);
    return undefined;
  }
}

/** Where several arrays overlap, the order of their addresses decides which are named. */
const OVERLAP = /must not share memory|must be in one group only, once/;

/** What an error says. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return `thrown: ${String(error)}`;
  if (OVERLAP.test(error.message)) return `${error.name}: something overlaps`;
  return `${error.name}: ${error.message}`;
}

/** V8's own words for mistakes in a program, which begin as Descent's do. */
const RAW =
  /^Cannot (read properties|set propert|assign to|define|perform|convert|destructure|mix)/;

/** Whether an error is one that Descent makes, or the caller's own. */
export function isRefusal(error: unknown): boolean {
  if (error instanceof Mischief) return true;
  const isKnown = error instanceof Error &&
    ["TypeError", "RangeError", "Error", "CheckpointError"].includes(error.name);
  return isKnown && error.message.startsWith("Cannot ") && !RAW.test(error.message);
}
