/** Makes the arrays of a file's tensors. */

import { quote } from "../core/validate.ts";
import { findStoredType } from "../state/stored_array.ts";
import type { StoredArray } from "../state/stored_array.ts";
import { unreadable } from "./errors.ts";
import type { Described } from "./tensor_fields.ts";

/** Bytes up to which a tensor shares its memory with its neighbors. */
const SMALL = 1 << 12;

/** Tensors up to which each has a buffer of its own, as callers expect of a few arrays. */
export const FEW = 1024;

/** The most bytes that are shared: code that keeps one array of a dict keeps as many. */
const SHARED = 1 << 16;

/** How an array of a tensor is made. */
export interface ArrayType<A> {
  /** Bytes of one element. */
  readonly bytes: number;
  /** A view of `length` elements from `offset` bytes on. */
  readonly view: (buffer: ArrayBuffer, offset: number, length: number) => A;
}

/** Says which array a tensor gets, or throws if there is none. */
type TypeOf<A> = (tensor: Described) => ArrayType<A>;

/**
 * Makes the arrays of all tensors, and says where their memory is.
 *
 * In a dict of many tensors, consecutive small ones share a buffer, which is filled at once: a buffer
 * for each of 200,000 tensors takes long to make and to clear away.
 *
 * @param tensors In the order of the file, without gaps.
 * @param typeOf Says which arrays they get.
 * @param isFew Whether each gets a buffer of its own.
 * @returns An array for each tensor, and the memory of all, in the same order.
 * @throws {CheckpointError} If there is no array of a dtype, or not enough memory.
 */
export function allocateAll<A>(
  tensors: readonly Described[],
  typeOf: TypeOf<A>,
  isFew = tensors.length <= FEW,
): { arrays: A[]; memory: Uint8Array[] } {
  const [arrays, memory]: [A[], Uint8Array[]] = [[], []];
  for (let i = 0; i < tensors.length;) {
    const to = isFew ? i + 1 : findEnd(tensors, i, typeOf);
    const { start } = tensors[i].info;
    typeOf(tensors[i]); // throws before memory is taken
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
function findEnd(tensors: readonly Described[], from: number, typeOf: TypeOf<unknown>): number {
  const { start, end } = tensors[from].info;
  let to = from + 1;
  if (end - start > SMALL) return to;
  for (; to < tensors.length; to++) {
    const { info } = tensors[to];
    const isSmall = info.end - info.start <= SMALL && info.end - start <= SHARED;
    if (!isSmall || (info.start - start) % typeOf(tensors[to]).bytes !== 0) break;
  }
  return to;
}

/**
 * The type of the array of a state dict's tensor.
 *
 * @throws {CheckpointError} If no array of a dict, or none of this runtime, holds its dtype.
 */
export function stateArrayType({ name, info: { dtype } }: Described): ArrayType<StoredArray> {
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
