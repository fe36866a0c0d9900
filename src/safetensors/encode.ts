/** Makes safetensors files of tensors. */

import { bitsOfDtype, bitsOfShape } from "../checkpoint/file_dtypes.ts";
import { bytesOf, layOut } from "../checkpoint/safetensors.ts";
import type { Layout } from "../checkpoint/safetensors.ts";
import { byDtype } from "../checkpoint/tensor_order.ts";
import type { Tensor } from "../checkpoint/tensor_order.ts";
import { bufferOf, byteLengthOf, lengthOf, stateOfBuffer } from "../core/intrinsics.ts";
import {
  cannot,
  checkObject,
  checkOptions,
  checkString,
  isPlainObject,
  quote,
  refusal,
  wrongType,
} from "../core/validate.ts";
import { METADATA } from "../state/tensor_names.ts";
import { ownDtypeOf } from "./arrays.ts";
import type { SavedTensor, TensorArray, TensorsMetadata } from "./types.ts";

/** What errors say that could not be done. */
const DOING = "encode the tensors";

/**
 * Encodes tensors as a safetensors file, which every safetensors library reads. The same tensors and
 * metadata always give the same bytes.
 *
 * @param tensors The tensors by their names; other properties, such as those of a parameter, are left.
 * @param options The file's metadata.
 * @returns The bytes of the file.
 * @throws {TypeError} If a tensor is not an array of the format, or a text is not a string.
 * @throws {RangeError} If an array has another length than its shape, or a limit of the format or its
 * reader is passed: 64 dimensions, 250,000 tensors, a header of 100 MB.
 *
 * @example
 * ```ts
 * import { decodeTensors, encodeTensors } from "@descent/sgd/safetensors";
 *
 * const bytes = encodeTensors({
 *   "layer.weight": { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] },
 *   "layer.mask": { data: Uint8Array.of(1, 0), dtype: "BOOL" },
 * });
 * console.log(decodeTensors(bytes)["layer.mask"].dtype); // BOOL
 * ```
 *
 * @category Tensors
 */
export function encodeTensors(
  tensors: Readonly<Record<string, SavedTensor>>,
  options: TensorsMetadata = {},
): Uint8Array<ArrayBuffer> {
  checkOptions(options, ["metadata"]);
  const layout = layOutTensors(tensors, options.metadata);
  const bytes = new Uint8Array(layout.size);
  bytes.set(layout.head);
  let at = layout.head.length;
  for (const { array } of layout.tensors) {
    bytes.set(bytesOf(array), at);
    at += byteLengthOf(array);
  }
  return bytes;
}

/**
 * Lays out the file of some tensors, without copying their arrays.
 *
 * @throws {TypeError} If a tensor is not an array of the format, or a text is not a string.
 * @throws {RangeError} If a length or a limit is not kept.
 */
export function layOutTensors(
  tensors: Readonly<Record<string, SavedTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Layout {
  if (!isPlainObject(tensors)) {
    throw wrongType(DOING, "they must be a plain object of names and tensors", tensors);
  }
  checkObject(DOING, metadata, "metadata");
  const notes = Object.entries(metadata).sort(([a], [b]) => a < b ? -1 : 1);
  for (const [key, text] of notes) {
    checkName(key, "a key of metadata");
    checkText(text, `metadata.${key}`);
  }
  const list = Object.entries(tensors).map(([name, tensor]) => checkTensor(name, tensor));
  return layOut(list, Object.fromEntries(notes), byDtype, DOING);
}

function checkName(name: string, what: string): void {
  if (name.isWellFormed()) return;
  throw new TypeError(cannot(DOING, `${what} must not have lone surrogates`, quote(name)));
}

function checkText(text: unknown, what: string): void {
  checkString(DOING, text, what);
  if (text.isWellFormed()) return;
  throw new TypeError(cannot(DOING, `${what} must not have lone surrogates`, quote(text)));
}

function checkTensor(name: string, tensor: unknown): Tensor {
  const what = `tensor ${quote(name)}`;
  checkName(name, "the name of a tensor");
  if (name === METADATA) {
    throw new TypeError(cannot(DOING, `no tensor may be called "${METADATA}"`));
  }
  checkObject(DOING, tensor, what);
  const { data, shape, dtype } = tensor as SavedTensor;
  const own = checkArray(data, what);
  const type = dtype === undefined ? own : checkDtype(dtype, own, what);
  if (shape === undefined && bitsOfDtype(type) !== bitsOfDtype(own)) {
    throw wrongType(DOING, `the shape of ${what} must be there, as its data are bytes`, shape);
  }
  const sides = shape === undefined ? [lengthOf(data)] : [...checkShape(shape, what)];
  checkLength(data, type, sides, what);
  return { name, array: data, shape: sides, dtype: type };
}

/** Checks an array, and returns the dtype that it has by itself. */
function checkArray(data: TensorArray, what: string): string {
  const own = ownDtypeOf(data);
  if (own === undefined) {
    throw wrongType(DOING, `the data of ${what} must be a typed array of safetensors`, data);
  }
  if (!stateOfBuffer(bufferOf(data)).detached) return own;
  throw new TypeError(cannot(DOING, `the buffer of ${what} is detached`));
}

/** Checks that an array can have a dtype: its own, or any if it has the bytes of the file. */
function checkDtype(dtype: unknown, own: string, what: string): string {
  checkString(DOING, dtype, `the dtype of ${what}`);
  if (bitsOfDtype(dtype) === undefined) {
    throw wrongType(DOING, `the dtype of ${what} must be one of safetensors`, dtype);
  }
  if (dtype === own || own === "U8") return dtype;
  const reason = `the dtype of ${what} must be ${own}, as that of its array`;
  throw wrongType(DOING, reason, dtype);
}

function checkShape(shape: unknown, what: string): readonly number[] {
  const isShape = Array.isArray(shape) &&
    shape.every((side) => Number.isSafeInteger(side) && side >= 0 && !Object.is(side, -0));
  if (isShape) return shape;
  const shown = Array.isArray(shape) ? `[${shape.join(", ")}]` : String(shape);
  const reason = `the shape of ${what} must be an array of whole numbers >= 0`;
  throw new TypeError(refusal(DOING, reason, shown));
}

function checkLength(data: TensorArray, dtype: string, shape: readonly number[], what: string) {
  const bits = bitsOfShape(bitsOfDtype(dtype)!, shape);
  const bytes = byteLengthOf(data);
  if (bits === 8 * bytes || bits === Infinity) return; // one that is too large is refused later
  const needed = bits % 8 === 0 ? `${bits / 8} bytes` : `whole bytes, and not ${bits} bits`;
  const shown = `[${shape.join(", ")}]`;
  const reason = `${what} of dtype ${dtype} and shape ${shown} must have ${needed}`;
  throw new RangeError(cannot(DOING, reason, `its data has ${bytes}`));
}
