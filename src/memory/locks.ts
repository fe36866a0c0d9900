/** Registry of the memory that running asynchronous steps use; everything else must keep off it. */

import { deviceOf } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { byteLengthOf } from "../core/intrinsics.ts";
import { cannot } from "../core/validate.ts";
import { objectAddressOf } from "./object_addresses.ts";
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

/** The memory of some arrays. It can be locked as long as it is current. */
export interface Memory {
  readonly scale: Scale;
  readonly ranges: readonly Range[];
}

const objects: Scale = { addressOf: objectAddressOf, used: [] };

/** New steps lock memory on the last scale; earlier ones may have steps that began before it. */
const scales: Scale[] = [objects];

/**
 * Lets memory be known by its address from here on, whatever buffer objects share it: copies of a
 * `SharedArrayBuffer`, or a WebAssembly memory before and after it has grown.
 */
export function useAddresses(addressOf: (array: HostArray) => number): void {
  scales.push({ addressOf, used: [] });
}

/**
 * Finds the memory of arrays. Tensors on devices need no lock: what is queued there is done in order.
 */
export function measureMemory(tensors: readonly Tensor[]): Memory {
  const scale = scales[scales.length - 1];
  return { scale, ranges: rangesOf(scale, tensors) };
}

/** Whether memory is still known by the addresses that it was measured by. */
export function isCurrent({ scale }: Memory): boolean {
  return scale === scales[scales.length - 1];
}

/**
 * Locks memory for a step.
 *
 * @returns Unlocks it.
 */
export function lockMemory({ scale, ranges }: Memory): () => void {
  scale.used = scale.used.length === 0
    ? ranges
    : scale.used.concat(ranges).sort((a, b) => a.start - b.start);
  return () => {
    if (scale.used === ranges) {
      scale.used = [];
      return;
    }
    const given = new Set(ranges);
    scale.used = scale.used.filter((range) => !given.has(range));
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
    cannot(
      `use ${name()}`,
      "a step that is running uses its memory",
      "await the promise of stepAsync first",
    ),
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
    // As many have ended as have begun: no array crosses the gap.
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
