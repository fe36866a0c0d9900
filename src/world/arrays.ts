/** Arrays that ranks give to each other. */

import type { Fact } from "../core/exchange.ts";
import {
  bufferOf,
  byteLengthOf,
  byteOffsetOf,
  lengthOf,
  stateOfBuffer,
  tagOf,
} from "../core/intrinsics.ts";
import { cannot, wrongType } from "../core/validate.ts";
import { assertUnlocked } from "../memory/locks.ts";

/**
 * The arrays that ranks can give to each other.
 *
 * @category World
 */
export type WorldArray =
  | Float64Array
  | Float32Array
  | Float16Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** An array, as it is sent. */
interface Sent {
  readonly view: ArrayBufferView<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The number of its dtype in tables, if it can be summed up. */
  readonly dtype: number | null;
  /** What has to be equal on all ranks. */
  readonly facts: readonly Fact[];
}

const SUMMABLE: Readonly<Record<string, number>> = { Float32Array: 0, Float64Array: 1 };

/**
 * Reads an array.
 *
 * @throws {TypeError} If it is not a typed array, or has been detached.
 * @throws {Error} If a step that is running uses its memory.
 */
export function arrayOf(array: unknown, doing: string): Sent {
  const tag = tagOf(array);
  if (tag === undefined || tag.startsWith("Big")) {
    throw wrongType(doing, "there must be a typed array of numbers", array);
  }
  const view = array as Uint8Array<ArrayBuffer>;
  const bytes = bytesOf(view, doing);
  assertUnlocked(view as unknown as Float32Array, () => "the array");
  const facts = [
    { what: "the array", text: `is a ${tag}` },
    { what: "the length of the array", text: `is ${lengthOf(view)}` },
  ];
  return { view, bytes, dtype: SUMMABLE[tag] ?? null, facts };
}

/**
 * The bytes of an array, wherever its own properties say that they are.
 *
 * @throws {TypeError} If it has been detached.
 */
export function bytesOf(array: ArrayBufferView, doing: string): Uint8Array<ArrayBuffer> {
  const buffer = bufferOf(array) as ArrayBuffer;
  if (stateOfBuffer(buffer).detached) {
    throw new TypeError(cannot(doing, "the array has been detached"));
  }
  return new Uint8Array(buffer, byteOffsetOf(array), byteLengthOf(array));
}
