/** Files of the ranks of a world of which each has a momentum of its own. */

import { load, store } from "../core/convert.ts";
import { exchangeOf } from "../core/exchange.ts";
import type { SGDWorld } from "../core/exchange.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { files } from "../files/files.ts";
import { decodeMomentum, encodeMomentum } from "../state/convert.ts";
import type { ParameterStateDict, StateDict } from "../state/dict.ts";
import { readOwner, withoutOwner } from "../state/rank_owner.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import { unreadable } from "./errors.ts";

/** The file of a rank: that of rank 0 has the name that the caller has given. */
export function rankPath(path: string, rank: number): string {
  return rank === 0 ? path : `${path}.rank-${rank}`;
}

/** The file of a rank until rank 0 has written the one that belongs to it. */
export function pendingPath(path: string, rank: number, save: string): string {
  return `${rankPath(path, rank)}.${save}`;
}

/**
 * Loads the state of one rank. If as many ranks have saved it as there are, this is what that rank has
 * saved; otherwise momentum is the mean of all of theirs.
 *
 * @param read Loads a file.
 * @throws {TypeError} If it is not a world.
 * @throws {CheckpointError} If a file is missing, or is of another save.
 */
export async function loadRank(
  path: string,
  world: SGDWorld,
  read: (path: string) => Promise<StateDict>,
): Promise<StateDict> {
  exchangeOf(world);
  const first = await read(path);
  const owner = readOwner(first);
  if (owner === null) return first;
  if (owner.rank !== 0) {
    throw unreadable(`it is the file of rank ${owner.rank}, not that of rank 0`);
  }
  const readOther = (rank: number) => readAnother(path, { ...owner, rank }, read);
  if (owner.size === world.size) return world.rank === 0 ? first : await readOther(world.rank);
  const mean = new MomentumMean(first);
  for (let rank = 1; rank < owner.size; rank++) mean.add(await readOther(rank));
  mean.finish();
  return withoutOwner(first);
}

async function readAnother(
  path: string,
  expected: RankOwner,
  read: (path: string) => Promise<StateDict>,
): Promise<StateDict> {
  const own = rankPath(path, expected.rank);
  const what = `the file of rank ${expected.rank} of ${expected.size}, ${own},`;
  let dict: StateDict | null;
  try {
    const pending = await readIfThere(pendingPath(path, expected.rank, expected.save), read);
    dict = pending ?? await read(own);
  } catch (error) {
    if (files().isNotFound(error)) throw unreadable(`${what} is missing`, error);
    throw error;
  }
  const { rank, size, save } = readOwner(dict) ?? { rank: -1, size: -1, save: "" };
  if (rank === expected.rank && size === expected.size && save === expected.save) return dict;
  throw unreadable(`${what} has not been saved together with it`);
}

/** Reads a file that a job has left which ended in the middle of a save; null if there is none. */
async function readIfThere(
  path: string,
  read: (path: string) => Promise<StateDict>,
): Promise<StateDict | null> {
  try {
    return await read(path);
  } catch (error) {
    if (files().isNotFound(error)) return null;
    throw error;
  }
}

/** The mean of the momentum of several state dicts, which replaces that of the first one. */
class MomentumMean {
  readonly #first: StateDict;
  readonly #sums = new Map<string, Float64Array>();
  #count = 0;

  constructor(first: StateDict) {
    this.#first = first;
    this.add(first);
  }

  /** Adds the momentum of another dict of the same shape. */
  add({ state }: StateDict): void {
    this.#count++;
    for (const [index, entry] of Object.entries(state)) {
      const values = momentumOf(entry);
      if (values === null) continue;
      const sum = this.#sums.get(index) ?? new Float64Array(values.length);
      if (sum.length !== values.length) {
        throw unreadable(`momentum ${index} of a rank has another length than that of rank 0`);
      }
      for (let i = 0; i < sum.length; i++) sum[i] += values[i];
      this.#sums.set(index, sum);
    }
  }

  /** Writes the mean into the first dict. */
  finish(): void {
    for (const [index, sum] of this.#sums) {
      for (let i = 0; i < sum.length; i++) sum[i] /= this.#count;
      const entry = this.#first.state[Number(index)];
      if (entry !== undefined) replaceMomentum(entry, sum);
    }
  }
}

function momentumOf(entry: ParameterStateDict): Float32Array | Float64Array | null {
  const { momentum_buffer, momentum8: values, momentum_scales: scales } = entry;
  if (values && scales) return decodeMomentum({ values, scales });
  if (!momentum_buffer) return null;
  const buffer = momentum_buffer as HostArray;
  if (buffer instanceof Float64Array) return buffer;
  const wide = new Float32Array(lengthOf(buffer));
  load(buffer, wide);
  return wide;
}

function replaceMomentum(entry: ParameterStateDict, mean: Float64Array): void {
  const { momentum_buffer, momentum8, momentum_scales } = entry;
  if (momentum8 && momentum_scales) {
    const { values, scales } = encodeMomentum(Float32Array.from(mean));
    momentum8.set(values);
    momentum_scales.set(scales);
  } else if (momentum_buffer instanceof Float64Array) momentum_buffer.set(mean);
  else if (momentum_buffer) store(Float32Array.from(mean), momentum_buffer as HostArray);
}
