/** Files whose headers have been read: one file, or those of a sharded model. */

import { CheckpointError, unreadable } from "../checkpoint/errors.ts";
import { splitPath } from "../checkpoint/atomic_file.ts";
import { openFile } from "../checkpoint/open_file.ts";
import { MAX_HEADER, PREFIX, readHeader, readHeaderLength } from "../checkpoint/safetensors.ts";
import type { Header } from "../checkpoint/safetensors.ts";
import type { Described } from "../checkpoint/tensor_fields.ts";
import { quote } from "../core/validate.ts";
import { files } from "../files/files.ts";
import type { OpenFile } from "../files/files.ts";
import { isIndexPath, readIndex } from "./shard_index.ts";

/** One file, open, whose header has been read. */
export interface Shard {
  readonly file: OpenFile;
  readonly header: Header;
  /** Where the data begin. */
  readonly dataAt: number;
}

/** Where a tensor is. */
export interface Place {
  readonly shard: Shard;
  readonly tensor: Described;
}

/** The tensors of a model, and the files that they are in. */
export interface Model {
  readonly shards: readonly Shard[];
  /** The tensors in the order of their files. */
  readonly places: ReadonlyMap<string, Place>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Opens a file, or the index of a sharded model and all its files, and reads the headers.
 *
 * @param path The absolute path. The caller closes the model.
 * @param names The tensors that are needed: files of a sharded model without any stay closed.
 * @throws {CheckpointError} If a file is not valid.
 */
export async function openModel(path: string, names?: ReadonlySet<string>): Promise<Model> {
  return isIndexPath(path) ? await openSharded(path, names) : await openSingle(path);
}

/** Closes the files of a model. */
export async function closeShards(shards: readonly Shard[]): Promise<void> {
  await Promise.all(shards.map(({ file }) => file.close()));
}

async function openSingle(path: string): Promise<Model> {
  const shard = await openShard(path);
  const { tensors, metadata } = shard.header;
  const places = new Map(tensors.map((tensor) => [tensor.name, { shard, tensor }]));
  return { shards: [shard], places, metadata };
}

async function openSharded(path: string, names?: ReadonlySet<string>): Promise<Model> {
  const index = readIndex(await readSmallFile(path));
  const { folder } = splitPath(path);
  const shards: Shard[] = [];
  const places = new Map<string, Place>();
  const metadata = new Map<string, string>();
  try {
    for (const [name, tensors] of index.shards) {
      if (names !== undefined && !tensors.some((tensor) => names.has(tensor))) continue;
      const shard = await openNamed(folder, name);
      shards.push(shard);
      placeAll(places, shard, name, tensors);
      for (const [key, text] of shard.header.metadata) {
        if (!metadata.has(key)) metadata.set(key, text);
      }
    }
  } catch (error) {
    await closeShards(shards);
    throw error;
  }
  for (const [key, text] of index.metadata) metadata.set(key, text);
  return { shards, places, metadata };
}

async function openNamed(folder: string, name: string): Promise<Shard> {
  try {
    return await openShard(folder + name);
  } catch (error) {
    if (files().isNotFound(error)) throw unreadable(`its file ${quote(name)} is missing`, error);
    if (error instanceof CheckpointError) error.message += `, in its file ${quote(name)}`;
    throw error;
  }
}

/** Adds the tensors that the index names for a file, in the order of the file; others are left out. */
function placeAll(
  places: Map<string, Place>,
  shard: Shard,
  file: string,
  names: readonly string[],
): void {
  const left = new Set(names);
  for (const tensor of shard.header.tensors) {
    if (left.delete(tensor.name)) places.set(tensor.name, { shard, tensor });
  }
  for (const name of left) {
    throw unreadable(`its file ${quote(file)} must have tensor ${quote(name)}, as its index says`);
  }
}

async function openShard(path: string): Promise<Shard> {
  const { file, size } = await openFile(path);
  try {
    const prefix = new Uint8Array(Math.min(PREFIX, size));
    await readExactly(file, prefix);
    const length = readHeaderLength(prefix, size);
    const bytes = new Uint8Array(length);
    await readExactly(file, bytes);
    const dataAt = PREFIX + length;
    return { file, header: readHeader(bytes, size - dataAt), dataAt };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readSmallFile(path: string): Promise<Uint8Array> {
  const { file, size } = await openFile(path);
  try {
    if (size > MAX_HEADER) {
      throw unreadable(`its index must have at most ${MAX_HEADER} bytes: it has ${size}`);
    }
    const bytes = new Uint8Array(size);
    await readExactly(file, bytes);
    return bytes;
  } finally {
    await file.close();
  }
}

async function readExactly(file: OpenFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const count = await file.read(bytes.subarray(at));
    if (count === null) throw unreadable("it was longer when opened");
    at += count;
  }
}
