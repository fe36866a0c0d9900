/** The memory of steps that run beside JavaScript's thread: nothing else may use it meanwhile. */

import { deviceOf } from "./parameter.ts";
import type { HostArray, Tensor } from "./parameter.ts";

/** Bytes of a buffer. */
interface Span {
  readonly start: number;
  readonly end: number;
}

const spans = new Map<ArrayBufferLike, Set<Span>>();

/**
 * Keeps the memory of arrays for a step. Tensors on devices need not be kept: what is queued there is
 * done in order.
 *
 * @returns Gives it back.
 */
export function occupy(tensors: Iterable<Tensor>): () => void {
  const own = [...tensors].filter(isArray).map((array) => [array.buffer, spanOf(array)] as const);
  for (const [buffer, span] of own) {
    const known = spans.get(buffer);
    if (known === undefined) spans.set(buffer, new Set([span]));
    else known.add(span);
  }
  return () => {
    for (const [buffer, span] of own) {
      spans.get(buffer)?.delete(span);
      if (spans.get(buffer)?.size === 0) spans.delete(buffer);
    }
  };
}

/** Whether a step is running. */
export function isAnyInUse(): boolean {
  return spans.size > 0;
}

/**
 * @throws {Error} If a step that is running uses the memory of a tensor.
 */
export function checkFree(tensor: Tensor, name: () => string): void {
  if (!isAnyInUse() || !isArray(tensor)) return;
  const { start, end } = spanOf(tensor);
  for (const other of spans.get(tensor.buffer) ?? []) {
    if (start < end && start < other.end && other.start < end) {
      throw new Error(
        `Cannot use ${name()} as a step that is running uses its memory: await the promise of ` +
          "stepAsync first",
      );
    }
  }
}

function isArray(tensor: Tensor): tensor is HostArray {
  return deviceOf(tensor) === undefined;
}

function spanOf({ byteOffset, byteLength }: HostArray): Span {
  return { start: byteOffset, end: byteOffset + byteLength };
}
