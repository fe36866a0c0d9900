/** Reads the data of tensors. */

import { FEW } from "../checkpoint/arrays.ts";
import { PieceReader } from "../checkpoint/piece_reader.ts";
import type { Progress } from "../checkpoint/piece_reader.ts";
import type { Described } from "../checkpoint/tensor_fields.ts";
import { cannot, quote } from "../core/validate.ts";
import { makeTensors } from "./decode.ts";
import type { Model, Shard } from "./model.ts";
import type { LoadedTensor } from "./types.ts";

/** The tensors of one file that are read. */
interface Part {
  readonly shard: Shard;
  /** In the order of the file. */
  readonly tensors: Described[];
  /** Bytes of all. */
  bytes: number;
}

/**
 * Reads tensors of a model; a file is read from its beginning to its end, without those between.
 *
 * @param names The tensors.
 * @param onProgress Called after the headers, of which nothing is left to read, and after each piece.
 * @returns The tensors by their names, in an object without a prototype, in the order of the files.
 * @throws {RangeError} If there is no tensor of a name.
 * @throws {CheckpointError} If a file has become shorter, or there is not enough memory.
 */
export async function readTensors(
  model: Model,
  names: ReadonlySet<string>,
  onProgress?: (progress: Progress) => void,
): Promise<Record<string, LoadedTensor>> {
  const parts = findParts(model, names);
  const isFew = names.size <= FEW;
  let done = model.shards.reduce((sum, { dataAt }) => sum + dataAt, 0);
  const total = parts.reduce((sum, { bytes }) => sum + bytes, done);
  onProgress?.({ done, total });
  const record: Record<string, LoadedTensor> = Object.create(null);
  for (const part of parts) {
    const before = done;
    const reader = new PieceReader(part.shard.file, part.bytes, (progress) => {
      done = before + progress.done;
      onProgress?.({ done, total });
    });
    for (const run of runsOf(part.tensors)) {
      const { loaded, memory } = makeTensors(run, isFew);
      const start = run[0].info.start;
      await reader.moveTo(part.shard.dataAt + start, run[run.length - 1].info.end - start);
      for (const bytes of memory) if (!reader.take(bytes)) await reader.fill(bytes);
      for (const [i, { name }] of run.entries()) record[name] = loaded[i];
    }
  }
  return record;
}

function findParts(model: Model, names: ReadonlySet<string>): Part[] {
  for (const name of names) {
    if (model.places.has(name)) continue;
    throw new RangeError(cannot(`load tensor ${quote(name)}`, "the file does not have it"));
  }
  const parts = new Map<Shard, Part>();
  for (const [name, { shard, tensor }] of model.places) {
    if (!names.has(name)) continue;
    const part: Part = parts.get(shard) ?? { shard, tensors: [], bytes: 0 };
    parts.set(shard, part);
    part.tensors.push(tensor);
    part.bytes += tensor.info.end - tensor.info.start;
  }
  return [...parts.values()];
}

/** Tensors as lists between which a file has others. */
function runsOf(tensors: readonly Described[]): Described[][] {
  const runs: Described[][] = [];
  let end = -1;
  for (const tensor of tensors) {
    if (tensor.info.start === end) runs[runs.length - 1].push(tensor);
    else runs.push([tensor]);
    end = tensor.info.end;
  }
  return runs;
}
