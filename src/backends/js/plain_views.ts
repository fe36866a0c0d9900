/**
 * Arrays that JavaScript's loops can go by.
 *
 * A class of the user's, or a property of the array itself, may replace `length`, `subarray` or `set`,
 * and what it does could end a step half way. Such an array is stepped through a view without either.
 */

import { findBFloat16Array } from "../../core/bfloat16_class.ts";
import { isHostArray } from "../../core/dtype.ts";
import type { HostArray } from "../../core/host_array.ts";
import { lengthOf, part } from "../../core/intrinsics.ts";

const views = new WeakMap<object, HostArray>();

let isAny = false;

/** Has a look at an array that is about to be stepped. */
export function inspect(array: HostArray): void {
  if (!isHostArray(array) || isPlain(array)) return; // packed arrays get views that nobody has seen
  isAny = true;
  if (!views.has(array)) views.set(array, part(array, 0, lengthOf(array)));
}

/** The array, or a plain view of it if `inspect` has found that it needs one. */
export function plain<T extends HostArray | null>(array: T): T {
  return isAny && array !== null ? (views.get(array) ?? array) as T : array;
}

/** Whether neither the class nor the array itself redefines anything that is used here. */
function isPlain(array: HostArray): boolean {
  const { hasOwn } = Object;
  return isOfPlainClass(Object.getPrototypeOf(array)) && !hasOwn(array, "length") &&
    !hasOwn(array, "subarray") && !hasOwn(array, "set") && !hasOwn(array, "fill") &&
    !hasOwn(array, "slice") && !hasOwn(array, "every") && !hasOwn(array, "constructor") &&
    !hasOwn(array, "buffer") && !hasOwn(array, "byteOffset");
}

const prototypes = new Set<unknown>(
  [
    ...[Float32Array, Float64Array, Int8Array, Uint8Array, Int16Array, Uint32Array],
    ...(typeof Float16Array === "function" ? [Float16Array] : []),
  ].map(({ prototype }) => prototype),
);

function isOfPlainClass(prototype: unknown): boolean {
  return prototypes.has(prototype) || prototype === findBFloat16Array()?.prototype;
}
