/** The two loops that every step is compared with, which a faster machine speeds up as well. */

import { openLibrary, unwrap } from "../src/native/library.ts";
import { createArray } from "./memory.ts";

/** The native library, or why it is absent. */
export const library = openLibrary();

interface Memory {
  readonly data: Float32Array<ArrayBuffer>;
  readonly grad: Float32Array<ArrayBuffer>;
  readonly buffer: Float32Array<ArrayBuffer>;
}

let memory: Memory | undefined;

/**
 * The roofline: a native loop that reads and writes as many bytes as a step, in the same mix and
 * on the same threads, over arrays of its own, and computes next to nothing.
 *
 * @param bytes Bytes of one pass over the parameters.
 * @returns A function that runs the loop once, or null without a native library.
 */
export function openRoofline(bytes: number, momentum: boolean): (() => void) | null {
  if ("reason" in library) return null;
  const { symbols } = library;
  const length = Math.round(bytes / Float32Array.BYTES_PER_ELEMENT);
  if (memory?.data.length !== length) memory = createMemory(length);
  const { data, grad } = memory;
  const buffer = momentum ? memory.buffer : null;
  return () => unwrap(symbols, symbols.descent_roofline(data, grad, buffer, length));
}

/** Frees the arrays of the roofline. */
export function closeRoofline(): void {
  memory = undefined;
}

function createMemory(length: number): Memory {
  return {
    data: createArray("float32", length, 0.05),
    grad: createArray("float32", length, 0.01),
    buffer: createArray("float32", length, 0.05),
  };
}

const NUMBERS = createArray("float32", 4096, 0.5);

/** A fixed scalar loop in TypeScript: 4096 multiplications and additions that wait for each other. */
export function scalarLoop(): void {
  let sum = 1;
  for (let i = 0; i < NUMBERS.length; i++) sum = Math.fround(sum * 0.5 + NUMBERS[i]);
  NUMBERS[0] = sum;
}
