/** Reads the data of tensors. */

import { FEW } from "../checkpoint/arrays.ts";
import { PieceReader } from "../checkpoint/piece_reader.ts";
import type { Progress } from "../checkpoint/piece_reader.ts";
import type { Described } from "../checkpoint/tensor_fields.ts";
import { cannot, quote } from "../core/validate.ts";
import { makeTensors } from "./decode.ts";
import type { Model, Shard } from "./model.ts";
import type { LoadedTensor } from "./types.ts";

/** Bytes between two tensors up to which they are read too: moving in a file costs more. */
const MAX_GAP = 1 << 16;

/** A part of a file that is read as a whole. */
interface Span {
  readonly start: number;
  end: number;
  /** The tensors that are wanted of it; other tensors lie between these lists. */
  readonly runs: Described[][];
}

/**
 * Reads tensors of a model; a file is read from its beginning to its end, without what is not needed.
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
  const parts = [...findParts(model, names)].map(([shard, tensors]) => {
    const spans = spansOf(tensors);
    return { shard, spans, bytes: spans.reduce((sum, { start, end }) => sum + end - start, 0) };
  });
  let done = model.shards.reduce((sum, { dataAt }) => sum + dataAt, 0);
  const total = parts.reduce((sum, { bytes }) => sum + bytes, done);
  onProgress?.({ done, total });
  const record: Record<string, LoadedTensor> = Object.create(null);
  for (const { shard, spans, bytes } of parts) {
    const before = done;
    const reader = new PieceReader(shard.file, bytes, (progress) => {
      done = before + progress.done;
      onProgress?.({ done, total });
    });
    for (const span of spans) {
      await reader.moveTo(shard.dataAt + span.start, span.end - span.start);
      await readSpan(reader, span, record, names.size <= FEW);
    }
  }
  return record;
}

async function readSpan(
  reader: PieceReader,
  { start, runs }: Span,
  record: Record<string, LoadedTensor>,
  isFew: boolean,
): Promise<void> {
  let at = start;
  for (const run of runs) {
    const { loaded, memory } = makeTensors(run, isFew);
    const gap = run[0].info.start - at;
    if (gap > 0) await reader.skip(gap);
    for (const bytes of memory) if (!reader.take(bytes)) await reader.fill(bytes);
    for (const [i, { name }] of run.entries()) record[name] = loaded[i];
    at = run[run.length - 1].info.end;
  }
}

/** The tensors of each file, in its order. */
function findParts(model: Model, names: ReadonlySet<string>): ReadonlyMap<Shard, Described[]> {
  for (const name of names) {
    if (model.places.has(name)) continue;
    throw new RangeError(cannot(`load tensor ${quote(name)}`, "the file does not have it"));
  }
  const parts = new Map<Shard, Described[]>();
  for (const [name, { shard, tensor }] of model.places) {
    if (!names.has(name)) continue;
    const tensors = parts.get(shard);
    if (tensors === undefined) parts.set(shard, [tensor]);
    else tensors.push(tensor);
  }
  return parts;
}

/** Joins tensors that follow each other, and those between which there is little. */
function spansOf(tensors: readonly Described[]): Span[] {
  const spans: Span[] = [];
  for (const tensor of tensors) {
    const { start, end } = tensor.info;
    const last = spans[spans.length - 1];
    if (last === undefined || start - last.end > MAX_GAP) {
      spans.push({ start, end, runs: [[tensor]] });
      continue;
    }
    if (start === last.end) last.runs[last.runs.length - 1].push(tensor);
    else last.runs.push([tensor]);
    last.end = end;
  }
  return spans;
}
