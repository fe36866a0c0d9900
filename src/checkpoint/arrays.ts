/** Makes the arrays of a file's tensors. */

import { quote } from "../core/validate.ts";
import { findStoredType } from "../state/stored_array.ts";
import type { StoredArray, StoredType } from "../state/stored_array.ts";
import { unreadable } from "./errors.ts";
import type { TensorInfo } from "./safetensors.ts";

/** A tensor of a file. */
export interface Described {
  /** Its name. */
  readonly name: string;
  /** What the header says of it. */
  readonly info: TensorInfo;
}

/** Bytes up to which a tensor shares its memory with its neighbors. */
const SMALL = 1 << 12;

/** Tensors up to which each has a buffer of its own, as callers expect of a few arrays. */
const FEW = 1024;

/** The most bytes that are shared: who keeps one array of a dict keeps as many. */
const SHARED = 1 << 16;

/**
 * Makes the arrays of all tensors, and says where their memory is.
 *
 * Of many tensors, small ones that follow each other share a buffer, which is filled at once: a buffer
 * for each of 200,000 tensors takes long to make and to clear away.
 *
 * @param tensors In the order of the file, without gaps.
 * @returns An array for each tensor, and the memory of all, in the same order.
 * @throws {CheckpointError} If there is no array of a dtype, or not enough memory.
 */
export function allocateAll(
  tensors: readonly Described[],
): { arrays: StoredArray[]; memory: Uint8Array[] } {
  const [arrays, memory]: [StoredArray[], Uint8Array[]] = [[], []];
  for (let i = 0; i < tensors.length;) {
    const to = findEnd(tensors, i);
    const { start } = tensors[i].info;
    const buffer = allocate(tensors[i], tensors[to - 1].info.end - start);
    memory.push(new Uint8Array(buffer));
    for (; i < to; i++) {
      const { info } = tensors[i];
      const { bytes, view } = typeOf(tensors[i]);
      arrays.push(view(buffer, info.start - start, (info.end - info.start) / bytes));
    }
  }
  return { arrays, memory };
}

/** The first tensor, from one on, that does not share its buffer. */
function findEnd(tensors: readonly Described[], from: number): number {
  const { start, end } = tensors[from].info;
  typeOf(tensors[from]);
  let to = from + 1;
  if (tensors.length <= FEW || end - start > SMALL) return to;
  for (; to < tensors.length; to++) {
    const { info } = tensors[to];
    const isSmall = info.end - info.start <= SMALL && info.end - start <= SHARED;
    if (!isSmall || (info.start - start) % typeOf(tensors[to]).bytes !== 0) break;
  }
  return to;
}

function typeOf({ name, info: { dtype } }: Described): StoredType {
  const type = findStoredType(dtype);
  if (type === undefined) throw unreadable(`no array holds tensor ${quote(name)} of ${dtype}`);
  if (dtype === "F16" && typeof Float16Array === "undefined") {
    throw unreadable(
      `its tensor ${quote(name)} is float16, and this runtime has no Float16Array: use a newer one`,
    );
  }
  return type;
}

function allocate({ name }: Described, bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch (cause) {
    throw unreadable(`there is no memory for the ${bytes} bytes of ${quote(name)}`, cause);
  }
}
