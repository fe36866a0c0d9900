/**
 * `BFloat16Array`, where a program has it. A program that does not import the class has no such array, so
 * that its bundle does without the class.
 */

import type { BFloat16Array } from "./bfloat16.ts";

type Class = typeof BFloat16Array;

let known: Class | null = null;

let isInstance: (value: unknown) => boolean = () => false;

/**
 * Makes the class known, when its module is loaded.
 *
 * @param has Whether a value is one of its arrays.
 */
export function registerBFloat16Array(own: Class, has: (value: unknown) => boolean): void {
  known = own;
  isInstance = has;
}

/** The class; null in a program that does not have it. */
export function findBFloat16Array(): Class | null {
  return known;
}

/** The class, in a program that has an array of it. */
export function bfloat16ArrayClass(): Class {
  return known!;
}

/** Whether a value is a BFloat16Array. */
export function isBFloat16Array(value: unknown): value is BFloat16Array {
  return isInstance(value);
}
