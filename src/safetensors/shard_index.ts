/** The index of a model that is spread over several files: `model.safetensors.index.json`. */

import { unreadable } from "../checkpoint/errors.ts";
import { JsonReader } from "../checkpoint/json.ts";
import type { Scalar } from "../checkpoint/json.ts";
import { decodeText } from "../checkpoint/safetensors.ts";
import { quote } from "../core/validate.ts";

/** The most files of a model: each is kept open while it is read. */
const MAX_SHARDS = 4096;

/** What an index says. */
export interface ShardIndex {
  /** The files, as paths below the folder of the index, and the names of the tensors in each. */
  readonly shards: ReadonlyMap<string, readonly string[]>;
  /** What its `metadata` has, as text, such as `total_size`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Whether a path is that of an index rather than of a safetensors file. */
export function isIndexPath(path: string): boolean {
  return /\.json$/i.test(path);
}

/**
 * Reads an index, which may be hostile.
 *
 * @param bytes The bytes of the file.
 * @throws {CheckpointError} If it is not valid, or names a file outside of its folder.
 */
export function readIndex(bytes: Uint8Array): ShardIndex {
  const reader = new JsonReader(decodeText(bytes, "its index"), "its index");
  const shards = new Map<string, string[]>();
  const metadata = new Map<string, string>();
  let hasMap = false;
  reader.object((key) => {
    if (key === "weight_map") {
      hasMap = true;
      reader.object((name) => addShard(shards, readFileName(reader, name), name));
    } else if (key === "metadata") readMetadata(reader, metadata);
    else reader.skip();
  });
  reader.end();
  if (!hasMap) throw unreadable("its index has no weight_map");
  return { shards, metadata };
}

function addShard(shards: Map<string, string[]>, file: string, name: string): void {
  const names = shards.get(file);
  if (names !== undefined) return void names.push(name);
  if (shards.size === MAX_SHARDS) {
    throw unreadable(`its index must name at most ${MAX_SHARDS} files`);
  }
  shards.set(file, [name]);
}

/** Keeps the texts, and numbers as text; what is nested is left out. */
function readMetadata(reader: JsonReader, into: Map<string, string>): void {
  reader.object((key) => {
    const value: Scalar | undefined = reader.scalarOrSkip();
    if (value !== undefined && value !== null) into.set(key, String(value));
  });
}

/**
 * Reads the name of a file, which must be in the folder of the index or below it. Links are followed: a
 * cache of models may have nothing but links in a folder.
 */
function readFileName(reader: JsonReader, tensor: string): string {
  const file = reader.string();
  const parts = file.split("/");
  const isInside = parts.every((part) => part !== "" && part !== "." && part !== "..");
  if (isInside && !/[\\:\0]/.test(file)) return file;
  throw unreadable(
    `the file of tensor ${quote(tensor)} in its index must be in the folder of the index: it is ` +
      quote(file),
  );
}
