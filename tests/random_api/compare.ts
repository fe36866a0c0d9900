/** What can be seen of a world, and whether two look the same. */

import { typeOf, valuesOf } from "./arrays.ts";
import type { World } from "./world.ts";
import { textOf } from "./operations/operation.ts";

/** Everything that a world can be seen to have. */
export interface Snapshot {
  readonly arrays: readonly { readonly name: string; readonly values: ArrayLike<number> }[];
  readonly optimizers: readonly unknown[];
  readonly averages: readonly unknown[];
  readonly scaler: unknown;
}

/** Looks at a world; nothing that is hostile is called. */
export function look(world: World): Snapshot {
  const { memory, optimizers, averages, scaler } = world;
  memory.looking = true;
  const seen = {
    arrays: memory.contents(),
    optimizers: optimizers.map((optimizer) => ({
      state: attempt(() => optimizer.stateDict()),
      lastStep: optimizer.lastStep,
      recorded: optimizer.recordedSteps,
    })),
    averages: averages.map((average) => ({
      state: attempt(() => average.stateDict()),
      isSwapped: average.isSwapped,
    })),
    scaler: scaler.stateDict(),
  };
  memory.looking = false;
  return seen;
}

function attempt(body: () => unknown): unknown {
  try {
    return body();
  } catch (error) {
    return textOf(error);
  }
}

/** What of a snapshot could be there before the other one: arrays that were made since are not. */
export function firstOf({ arrays, ...others }: Snapshot, { length }: readonly unknown[]): Snapshot {
  return { ...others, arrays: arrays.slice(0, length) };
}

/**
 * The first difference between two values, or null.
 *
 * @param tolerance How far numbers may be apart, relative to the largest of their list.
 */
export function difference(
  a: unknown,
  b: unknown,
  tolerance: (name: string) => number,
  at = "",
): string | null {
  if (isNumbers(a) && isNumbers(b)) {
    const [one, other] = [a, b].map((list) => ArrayBuffer.isView(list) ? valuesOf(list) : list);
    const type = ArrayBuffer.isView(a) ? typeOf(a) : "";
    return differenceOfNumbers(one, other, tolerance(at + type), at);
  }
  if (typeof a === "number" && typeof b === "number") {
    return differenceOfNumbers([a], [b], tolerance(at), at);
  }
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return Object.is(a, b) ? null : `${at}: ${String(a)} and ${String(b)}`;
  }
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  const named = (a as { name?: unknown }).name;
  const here = typeof named === "string" ? `${at}.${named}` : at;
  for (const key of keys) {
    const [one, other] = [a, b].map((value) => (value as Record<string, unknown>)[key]);
    const found = difference(one, other, tolerance, `${here}.${key}`);
    if (found !== null) return found;
  }
  return null;
}

type Numbers = ArrayLike<number>;

function isNumbers(value: unknown): value is Numbers {
  if (ArrayBuffer.isView(value)) return true;
  return Array.isArray(value) && value.length > 0 && value.every((x) => typeof x === "number");
}

function differenceOfNumbers(a: Numbers, b: Numbers, tolerance: number, at: string): string | null {
  if (a.length !== b.length) return `${at}: ${a.length} and ${b.length} elements`;
  let largest = 1;
  for (let i = 0; i < a.length && tolerance > 0; i++) {
    if (Number.isFinite(a[i])) largest = Math.max(largest, Math.abs(a[i]));
  }
  for (let i = 0; i < a.length; i++) {
    if (Object.is(a[i], b[i])) continue;
    if (Math.abs(a[i] - b[i]) <= tolerance * largest) continue;
    return `${at}[${i}] of ${a.length}: ${a[i]} and ${b[i]}`;
  }
  return null;
}
