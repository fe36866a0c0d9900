/** The memory of steps that run beside JavaScript's thread: nothing else may use it meanwhile. */

import { deviceOf } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { byteLengthOf } from "../core/intrinsics.ts";
import { placeOf } from "./object_addresses.ts";
import { createSpans } from "./overlap.ts";

/** Memory from its first byte to the one after its last. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/** Where arrays are, and what running steps use there: ranges in order, none of which overlap. */
interface Scale {
  readonly addressOf: (array: HostArray) => number;
  used: readonly Range[];
}

const objects: Scale = { addressOf: placeOf, used: [] };

/** The last one is the one that steps are put down on; those before may have steps from before. */
const scales: Scale[] = [objects];

/**
 * Lets memory be known by its address from here on, whatever buffer objects share it: copies of a
 * `SharedArrayBuffer`, or a WebAssembly memory before and after it has grown.
 */
export function useAddresses(addressOf: (array: HostArray) => number): void {
  scales.push({ addressOf, used: [] });
}

/**
 * Keeps the memory of arrays for a step. Tensors on devices need not be kept: what is queued there is
 * done in order.
 *
 * @returns Gives it back.
 */
export function lockMemory(tensors: readonly Tensor[]): () => void {
  const scale = scales[scales.length - 1];
  const own = rangesOf(scale, tensors);
  scale.used = scale.used.length === 0
    ? own
    : scale.used.concat(own).sort((a, b) => a.start - b.start);
  return () => {
    const given = new Set(own);
    scale.used = scale.used === own ? [] : scale.used.filter((range) => !given.has(range));
  };
}

/** Whether a step is running. */
export function hasLocks(): boolean {
  for (let i = 0; i < scales.length; i++) {
    if (scales[i].used.length > 0) return true;
  }
  return false;
}

/**
 * @throws {Error} If a step that is running uses the memory of a tensor.
 */
export function assertUnlocked(tensor: Tensor, name: () => string): void {
  if (!hasLocks() || !isArray(tensor) || !scales.some((scale) => isUsed(scale, tensor))) return;
  throw new Error(
    `Cannot use ${name()} as a step that is running uses its memory: await the promise of ` +
      "stepAsync first",
  );
}

function isUsed({ addressOf, used }: Scale, array: HostArray): boolean {
  if (used.length === 0) return false;
  const { start, end } = rangeOf(addressOf, array);
  let [low, high] = [0, used.length];
  while (low < high) { // the first range that ends after the array's start
    const middle = (low + high) >> 1;
    if (used[middle].end <= start) low = middle + 1;
    else high = middle;
  }
  return start < end && low < used.length && used[low].start < end;
}

/** The memory of arrays, in order; what overlaps or touches is one range. */
function rangesOf({ addressOf }: Scale, tensors: readonly Tensor[]): Range[] {
  const { starts, ends } = createSpans(tensors.length);
  let count = 0;
  for (const tensor of tensors) {
    if (!isArray(tensor)) continue;
    const bytes = byteLengthOf(tensor);
    if (bytes === 0) continue;
    starts[count] = addressOf(tensor);
    ends[count] = starts[count++] + bytes;
  }
  starts.subarray(0, count).sort();
  ends.subarray(0, count).sort();
  const ranges: Range[] = [];
  for (let i = 0, first = 0; i < count; i++) {
    // As many have ended as have begun: nothing goes on over the gap.
    if (i + 1 < count && starts[i + 1] <= ends[i]) continue;
    ranges.push({ start: starts[first], end: ends[i] });
    first = i + 1;
  }
  return ranges;
}

function rangeOf(addressOf: Scale["addressOf"], array: HostArray): Range {
  const start = addressOf(array);
  return { start, end: start + byteLengthOf(array) };
}

function isArray(tensor: Tensor): tensor is HostArray {
  return deviceOf(tensor) === undefined;
}
