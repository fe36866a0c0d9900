/** Writes a file that has been laid out: in pieces, from the arrays themselves. */

import { bufferOf, stateOfBuffer } from "../core/intrinsics.ts";
import { cannot, quote } from "../core/validate.ts";
import type { OpenFile } from "../files/files.ts";
import { replaceFile } from "./atomic_file.ts";
import type { Replacing } from "./atomic_file.ts";
import { PIECE } from "./piece_reader.ts";
import type { Progress } from "./piece_reader.ts";
import { bytesOf } from "./safetensors.ts";
import type { Layout } from "./safetensors.ts";
import type { Tensor } from "./tensor_order.ts";

/** Some bytes of a tensor. */
export interface TensorBytes {
  readonly tensor: Tensor;
  /** The first one. */
  readonly from: number;
  /** Where they go. */
  readonly into: Uint8Array<ArrayBuffer>;
}

/** Tensors whose bytes are somewhere else. */
export interface RemoteTensors {
  /** Whether a tensor is one. */
  has(tensor: Tensor): boolean;
  /** Gets bytes of such tensors. */
  read(parts: readonly TensorBytes[]): Promise<void>;
}

/** How a file is written. */
export interface Writing extends Replacing {
  /** The words after "Cannot" in errors. */
  readonly doing: string;
  /** Called before the file is begun and after each piece; an error that it throws ends the writing. */
  readonly check?: () => void;
  /** Gets bytes of tensors whose arrays do not have them. */
  readonly remote?: RemoteTensors;
  /** Called after each piece. */
  readonly onProgress?: (progress: Progress) => void;
}

/**
 * Replaces a file by one that has been laid out. The old one stays until the new one is complete.
 *
 * @param path The absolute path.
 * @throws {CheckpointError} If the system does not let the file be written.
 * @throws {Error} If an array is detached meanwhile.
 */
export async function writeLayout(path: string, layout: Layout, writing: Writing): Promise<void> {
  const pieces = piecesOf(layout, writing);
  await replaceFile(path, (out) => writeAll(out, pieces, layout.size, writing), writing);
}

/**
 * Copies of the file's bytes, in memory that the next piece uses again. Small tensors share a piece,
 * as each call of the system costs more than they do.
 */
async function* piecesOf(
  layout: Layout,
  { doing, check, remote }: Writing,
): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(Math.min(PIECE, layout.size));
  let filled = 0;
  let missing: TensorBytes[] = [];
  const complete = async () => {
    if (missing.length > 0) await remote!.read(missing);
    missing = [];
    return piece.subarray(0, filled);
  };
  check?.();
  for (const [bytes, tensor] of bytesOfFile(layout, doing)) {
    const isRemote = tensor !== null && remote?.has(tensor);
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + piece.length - filled);
      const into = piece.subarray(filled, filled + part.length);
      if (isRemote) missing.push({ tensor, from: at, into });
      else into.set(part);
      [at, filled] = [at + part.length, filled + part.length];
      if (filled < piece.length) continue;
      yield await complete();
      check?.();
      filled = 0;
    }
  }
  if (filled > 0) yield await complete();
}

function* bytesOfFile(
  { head, tensors }: Layout,
  doing: string,
): Generator<[Uint8Array, Tensor | null]> {
  yield [head, null];
  for (const tensor of tensors) {
    if (stateOfBuffer(bufferOf(tensor.array)).detached) {
      throw detached(doing, `it was that of ${quote(tensor.name)}`);
    }
    yield [bytesOf(tensor.array), tensor];
  }
}

function detached(doing: string, what: string): Error {
  return new Error(cannot(doing, "an array was detached meanwhile", what));
}

async function writeAll(
  out: OpenFile,
  pieces: AsyncIterable<Uint8Array>,
  total: number,
  { doing, onProgress }: Writing,
): Promise<void> {
  let done = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) at += await out.write(piece.subarray(at));
    done += piece.length;
    onProgress?.({ done, total });
  }
  // An array whose buffer is transferred meanwhile ends early.
  if (done !== total) throw detached(doing, `${total} bytes were to be written, and ${done} were`);
}
