/** `BFloat16Array`, where a program has it. */

import type { BFloat16Array } from "./bfloat16.ts";
import { isOfRegisteredClass, registeredClass } from "./bfloat16_registry.ts";

/** The class; null in a program that does not have it. */
export function findBFloat16Array(): typeof BFloat16Array | null {
  return registeredClass() as typeof BFloat16Array | null;
}

/** The class, in a program that has an array of it. */
export function bfloat16ArrayClass(): typeof BFloat16Array {
  return findBFloat16Array()!;
}

/** Whether a value is a BFloat16Array. */
export function isBFloat16Array(value: unknown): value is BFloat16Array {
  return isOfRegisteredClass(value);
}
