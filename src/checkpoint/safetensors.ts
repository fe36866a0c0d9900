/**
 * The safetensors format: named tensors behind a JSON header, little-endian.
 *
 * ```text
 * 8 bytes   length of the header, a whole number
 * header    {"__metadata__": {string: string}, name: {"dtype", "shape", "data_offsets"}, ...}
 * data      the tensors, row-major, without gaps
 * ```
 *
 * This is TypeScript rather than the Rust crate of the format behind the boundary, because one path
 * then serves every backend, also where there is no native library, and because the crate writes
 * metadata in an order that changes from run to run. What is accepted is what the crate accepts,
 * less duplicate keys, unknown fields, more than 64 dimensions, sizes beyond 2^53 and headers of more
 * than 4 million keys and items; the tests hold this to the crate's own vectors and to files that
 * the Python package wrote.
 */

import { bufferOf, byteLengthOf, byteOffsetOf } from "../core/intrinsics.ts";
import { cannot, quote } from "../core/validate.ts";
import { METADATA } from "../state/tensor_names.ts";
import { unreadable } from "./errors.ts";
import { bitsOfDtype, bitsOfShape } from "./file_dtypes.ts";
import type { FileArray } from "./file_dtypes.ts";
import { HeaderWriter, PREFIX } from "./header_writer.ts";
import { JsonReader, MAX_VALUES } from "./json.ts";
import { FieldScanner, MAX_RANK } from "./tensor_fields.ts";
import type { Described, TensorInfo } from "./tensor_fields.ts";
import { byWidth, dtypeOfTensor, sortTensors } from "./tensor_order.ts";
import type { Tensor, TensorRank } from "./tensor_order.ts";
export { PREFIX } from "./header_writer.ts";

/** The most bytes of a header. */
export const MAX_HEADER = 100_000_000;

const MAX_TENSORS = 250_000;

/** Its name, its three fields and two offsets. */
const VALUES_PER_TENSOR = 6;

/** Bytes that a tensor is expected to take in a header. */
const ROOM = 100;

/** What errors say that could not be done, unless the caller says otherwise. */
const ENCODING = "encode the state";

/** Three keys and two offsets. */
const USUAL_VALUES = 5;

/** What a file consists of: its first bytes, then the tensors' own. */
export interface Layout {
  /** The length of the header and the header. */
  readonly head: Uint8Array<ArrayBuffer>;
  /** The tensors, in the order of the file. */
  readonly tensors: readonly Tensor[];
  /** Bytes of all together. */
  readonly size: number;
}

/** A header that has been checked. */
export interface Header {
  /** The entries of `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The tensors, in the order of their data. */
  readonly tensors: readonly Described[];
}

/**
 * Lays out a file: the same tensors and metadata always give the same bytes.
 *
 * @param tensors The tensors, of different names, in any order.
 * @param metadata Keys and texts, in the order in which they are written.
 * @param rankOf By what the tensors are sorted before their names.
 * @param doing The words after "Cannot" in errors.
 * @throws {RangeError} If the header would be longer than the format allows, or there are more than
 * 250,000 tensors.
 */
export function layOut(
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>> = {},
  rankOf: TensorRank = byWidth,
  doing: string = ENCODING,
): Layout {
  checkReadable(tensors, metadata, doing);
  const sorted = sortTensors(tensors, rankOf);
  const writer = new HeaderWriter(ROOM * (1 + tensors.length));
  const notes = Object.keys(metadata).length > 0;
  writer.raw("{");
  if (notes) writeMetadata(writer, metadata);
  let end = 0;
  for (const [i, tensor] of sorted.entries()) {
    const { name, array, shape } = tensor;
    const start = end;
    end += byteLengthOf(array);
    if (notes || i > 0) writer.raw(",");
    writer.string(name);
    writer.raw(':{"dtype":"');
    writer.raw(dtypeOfTensor(tensor));
    writer.raw('","shape":[');
    writeCounts(writer, shape);
    writer.raw(',"data_offsets":[');
    writer.count(start);
    writer.raw(",");
    writer.count(end);
    writer.raw("]}");
  }
  writer.raw("}");
  checkLimit("its header", MAX_HEADER, "bytes", Math.ceil(writer.length / 8) * 8, doing);
  const head = writer.finish();
  return { head, tensors: sorted, size: head.length + end };
}

function writeMetadata(writer: HeaderWriter, metadata: Readonly<Record<string, string>>): void {
  writer.string(METADATA);
  for (const [i, key] of Object.keys(metadata).entries()) {
    writer.raw(i === 0 ? ":{" : ",");
    writer.string(key);
    writer.raw(":");
    writer.string(metadata[key]);
  }
  writer.raw("}");
}

function writeCounts(writer: HeaderWriter, shape: readonly number[]): void {
  for (let i = 0; i < shape.length; i++) {
    if (i > 0) writer.raw(",");
    writer.count(shape[i]);
  }
  writer.raw("]");
}

/** Refuses what `readHeader` would refuse. */
function checkReadable(
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>>,
  doing: string,
): void {
  checkLimit("it", MAX_TENSORS, "tensors", tensors.length, doing);
  let values = 1 + Object.keys(metadata).length;
  for (const tensor of tensors) {
    const { name, shape } = tensor;
    if (shape.length > MAX_RANK) {
      checkLimit(`tensor ${quote(name)}`, MAX_RANK, "dimensions", shape.length, doing);
    }
    if (bitsOfShape(bitsOfDtype(dtypeOfTensor(tensor))!, shape) > Number.MAX_SAFE_INTEGER) {
      throw new RangeError(
        cannot(
          doing,
          `tensor ${quote(name)} is too large`,
          `its shape is [${shape.join(", ")}]`,
        ),
      );
    }
    values += VALUES_PER_TENSOR + shape.length;
  }
  checkLimit("its header", MAX_VALUES, "keys and items", values, doing);
}

/**
 * Refuses a number above a limit of the reader.
 *
 * @throws {RangeError} If it is above.
 */
export function checkLimit(
  what: string,
  limit: number,
  unit: string,
  count: number,
  doing: string = ENCODING,
): void {
  if (count <= limit) return;
  throw new RangeError(
    cannot(doing, `${what} must have at most ${limit} ${unit}`, `it has ${count}`),
  );
}

/** The bytes of an array; Deno runs on little-endian machines only, so they are the file's. */
export function bytesOf(array: FileArray): Uint8Array {
  return new Uint8Array(bufferOf(array), byteOffsetOf(array), byteLengthOf(array));
}

/** How the files of `torch.save` begin, as those of every ZIP archive. */
const ZIP = 0x504b0304;

/**
 * Checks the first bytes of a file.
 *
 * @param prefix The first `PREFIX` bytes, or fewer if the file is shorter.
 * @param size Bytes of the whole file.
 * @returns The length of the header.
 * @throws {CheckpointError} If a header of that length cannot be there.
 */
export function readHeaderLength(prefix: Uint8Array, size: number): number {
  if (prefix.length < PREFIX) {
    throw unreadable(`it must have at least ${PREFIX} bytes: it has ${prefix.length}`);
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset);
  const length = view.getBigUint64(0, true);
  const limit = Math.min(MAX_HEADER, size - PREFIX);
  if (length > limit) {
    if (view.getUint32(0) === ZIP) {
      throw unreadable(
        "it is a ZIP archive, as torch.save writes: in Python, safetensors.torch.save_file writes what is read here",
      );
    }
    throw unreadable(
      `its header must have at most ${limit} bytes: ${length} are announced at byte 0`,
    );
  }
  return Number(length);
}

/**
 * Reads and checks a header: every later step can rely on it.
 *
 * @param bytes The header.
 * @param dataSize Bytes after the header: the tensors must cover them exactly.
 * @param mayRepeat Whether a name may be there twice, because the caller notices: a set of 200,000 names
 * takes longer than all the rest.
 * @throws {CheckpointError} If it is not valid; the message names the place.
 */
export function readHeader(bytes: Uint8Array, dataSize: number, mayRepeat = false): Header {
  const reader = new JsonReader(decodeText(bytes, "its header"), "the header");
  let metadata: Map<string, string> | undefined;
  const tensors: Described[] = [];
  const usual = new FieldScanner();
  const onKey = (name: string) => {
    if (name !== METADATA) {
      tensors.push({ name, info: readTensorInfo(reader, usual, name) });
      return;
    }
    const entries = metadata = new Map<string, string>();
    reader.object((key) => entries.set(key, reader.string()));
  };
  if (mayRepeat) reader.object(onKey, (name) => name === METADATA && metadata !== undefined);
  else reader.object(onKey);
  reader.end();
  sortByPlace(tensors);
  checkCover(tensors, dataSize);
  return { metadata: metadata ?? new Map(), tensors };
}

/**
 * The text of a header or an index.
 *
 * @throws {CheckpointError} If it is not UTF-8.
 */
export function decodeText(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw unreadable(`${what} is not UTF-8`, cause);
  }
}

/** Reads the fields of a tensor: as all writers write them, or as JSON allows, too. */
function readTensorInfo(reader: JsonReader, usual: FieldScanner, name: string): TensorInfo {
  const isUsual = reader.usual((text, at) => usual.scan(text, at));
  const info = isUsual ? usual.info! : readFields(reader, name);
  if (isUsual) reader.counted(USUAL_VALUES + info.shape.length);
  const bytes = bytesOfInfo(info, name);
  if (info.end - info.start === bytes) return info;
  throw unreadable(
    `tensor ${quote(name)} of dtype ${info.dtype} and shape [${info.shape.join(", ")}] must have ` +
      `${bytes} bytes: its data_offsets are [${info.start}, ${info.end}]`,
  );
}

function readFields(reader: JsonReader, name: string): TensorInfo {
  let dtype: string | undefined;
  const shape: number[] = [];
  const offsets: number[] = [];
  let fields = 0;
  reader.object((field) => {
    fields++;
    if (field === "dtype") dtype = reader.string();
    else if (field === "shape") readCounts(reader, shape, MAX_RANK);
    else if (field === "data_offsets") readCounts(reader, offsets, 2);
    else throw reader.error(`a tensor has no field ${quote(field)}`);
  });
  if (fields < 3 || offsets.length < 2) {
    throw reader.error(`tensor ${quote(name)} must have dtype, shape and two data_offsets`);
  }
  return { dtype: dtype!, shape, start: offsets[0], end: offsets[1] };
}

function readCounts(reader: JsonReader, into: number[], limit: number): void {
  reader.array((index) => {
    if (index >= limit) throw reader.error(`there must be at most ${limit} numbers`);
    into.push(reader.count());
  });
}

function bytesOfInfo({ dtype, shape }: TensorInfo, name: string): number {
  const bits = bitsOfDtype(dtype);
  if (bits === undefined) {
    throw unreadable(`the dtype of tensor ${quote(name)} is not known: it is ${quote(dtype)}`);
  }
  const total = bitsOfShape(bits, shape);
  if (total > Number.MAX_SAFE_INTEGER) {
    throw unreadable(`tensor ${quote(name)} is too large: its shape is [${shape.join(", ")}]`);
  }
  if (total % 8 !== 0) throw unreadable(`tensor ${quote(name)} does not end with a whole byte`);
  return total / 8;
}

/** Sorts what most writers have written in order, and is then left as it is. */
function sortByPlace(tensors: Described[]): void {
  const compare = ({ info: a }: Described, { info: b }: Described) =>
    a.start - b.start || a.end - b.end;
  for (let i = 1; i < tensors.length; i++) {
    if (compare(tensors[i - 1], tensors[i]) > 0) return void tensors.sort(compare);
  }
}

function checkCover(tensors: readonly Described[], dataSize: number): void {
  let end = 0;
  for (const { name, info } of tensors) {
    if (info.start !== end) {
      throw unreadable(
        `tensor ${quote(name)} must start at byte ${end} of the data, where the one before ` +
          `ends: it starts at ${info.start}`,
      );
    }
    end = info.end;
  }
  if (end !== dataSize) {
    throw unreadable(`its tensors must have ${dataSize} bytes, as the file has: they have ${end}`);
  }
}
