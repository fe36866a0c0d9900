/** Reads the bytes of safetensors files. */

import { allocateAll } from "../checkpoint/arrays.ts";
import { bytesOf, PREFIX, readHeader, readHeaderLength } from "../checkpoint/safetensors.ts";
import type { Described } from "../checkpoint/tensor_fields.ts";
import { tagOf } from "../core/intrinsics.ts";
import { wrongType } from "../core/validate.ts";
import { arrayTypeOf } from "./arrays.ts";
import type { LoadedTensor } from "./types.ts";

/**
 * Decodes a safetensors file, whichever program has made it. The bytes may be hostile: everything is
 * checked before it is used.
 *
 * @param bytes The bytes of the file; the tensors do not share them.
 * @returns The tensors by their names, in an object without a prototype, so that any name is safe.
 * @throws {CheckpointError} If they are not a valid file; the message names the place.
 * @throws {TypeError} If `bytes` is not a Uint8Array.
 *
 * @example
 * ```ts
 * import { decodeTensors, encodeTensors } from "@descent/sgd/safetensors";
 *
 * const tensors = decodeTensors(encodeTensors({ w: { data: Int32Array.of(1, 2) } }));
 * console.log(tensors.w.dtype, tensors.w.shape, tensors.w.data); // I32 [ 2 ] Int32Array(2) [ 1, 2 ]
 * ```
 *
 * @category Tensors
 */
export function decodeTensors(bytes: Uint8Array): Record<string, LoadedTensor> {
  if (tagOf(bytes) !== "Uint8Array") {
    throw wrongType("decode", "bytes must be a Uint8Array", bytes);
  }
  const all = bytesOf(bytes);
  const length = readHeaderLength(all.subarray(0, PREFIX), all.length);
  let at = PREFIX + length;
  const { tensors } = readHeader(all.subarray(PREFIX, at), all.length - at);
  const { loaded, memory } = makeTensors(tensors);
  for (const part of memory) part.set(all.subarray(at, at += part.length));
  return recordOf(tensors, loaded);
}

/** Makes tensors whose arrays are still to be filled: consecutive ones of a file. */
export function makeTensors(tensors: readonly Described[], isFew?: boolean) {
  const { arrays, memory } = allocateAll(tensors, arrayTypeOf, isFew);
  const loaded = tensors.map(({ info: { dtype, shape } }, i) =>
    ({ data: arrays[i], shape: [...shape], dtype }) as LoadedTensor
  );
  return { loaded, memory };
}

/** An object of tensors by their names. Without a prototype, "__proto__" is a name like any other. */
export function recordOf(
  tensors: readonly Described[],
  loaded: readonly LoadedTensor[],
): Record<string, LoadedTensor> {
  const record: Record<string, LoadedTensor> = Object.create(null);
  for (const [i, { name }] of tensors.entries()) record[name] = loaded[i];
  return record;
}
