/**
 * Saves of all ranks of a world: no rank's promise is fulfilled before the files of all are there, and if one
 * of them fails, all do.
 *
 * Where each rank has a file, rank 0's says which ones belong to it. The others are written under names of
 * their own first, beside those of the last save; then rank 0's file takes the place of the old one, which
 * is the moment from which the new checkpoint counts; and then the others get the names of the old ones.
 * So a job that ends at any point leaves the files of one whole save.
 */

import { cannot } from "../core/validate.ts";
import { files } from "../files/files.ts";
import type { JointSave } from "../state/source.ts";
import { splitPath } from "./atomic_file.ts";
import type { Replacing } from "./atomic_file.ts";
import { CheckpointError } from "./errors.ts";
import { pendingPath, rankPath } from "./rank_files.ts";

/** Writes the file of this rank. */
type Write = (path: string, how?: Replacing) => Promise<void>;

/**
 * Saves together with the other ranks.
 *
 * @param path The file of rank 0.
 * @throws {CheckpointError} If a rank has failed: on all ranks, with the rank and its reason.
 * @throws {WorldError} If a rank has ended.
 */
export async function saveJointly(joint: JointSave, path: string, write: Write): Promise<void> {
  try {
    if (joint.rank > 0 && joint.owner !== null) await savePart(joint, path, write);
    else if (joint.owner !== null) await saveFirst(joint, path, write);
    else await meet(joint, joint.rank === 0 ? await failureOf(() => write(path)) : null);
  } finally {
    joint.end();
  }
}

/** Rank 0 replaces its file once the others have written theirs. */
async function saveFirst(joint: JointSave, path: string, write: Write): Promise<void> {
  let waited: Failure | null | undefined;
  const ready = async () => {
    waited = await failureOf(() => meet(joint, null));
    if (waited !== null) throw waited.error;
  };
  const failure = await failureOf(() => write(path, { ready }));
  if (waited) throw waited.error; // as on all other ranks
  await meet(joint, failure);
  await removeOld(joint, path);
}

async function savePart(joint: JointSave, path: string, write: Write): Promise<void> {
  const { rank, save } = joint.owner!;
  const [own, pending] = [rankPath(path, rank), pendingPath(path, rank, save)];
  const failure = await failureOf(() => write(own, { as: pending }));
  try {
    await meet(joint, failure);
  } catch (error) {
    await files().remove(pending).catch(() => {}); // it belongs to no file of rank 0
    throw error;
  }
  await meet(joint, null); // rank 0 has replaced its file
  await files().rename(pending, own).catch(() => {}); // it is found under both names
  await removeOld(joint, path);
}

/** Removes files of this rank that a job has left which ended in the middle of a save. */
async function removeOld({ owner }: JointSave, path: string): Promise<void> {
  const { rank, size, save } = owner!;
  const { folder, name } = splitPath(path);
  const isOld = (other: number, of: string | undefined) =>
    other === rank ? of !== undefined && of !== save : rank === 0 && other >= size;
  try {
    for (const found of await files().list(folder)) {
      if (!found.startsWith(`${name}.rank-`)) continue;
      const parts = /^(\d{1,9})(?:\.([0-9a-f]+))?$/.exec(found.slice(`${name}.rank-`.length));
      if (parts !== null && isOld(Number(parts[1]), parts[2])) await files().remove(folder + found);
    }
  } catch {
    // The new files are there all the same.
  }
}

/** What has been thrown. */
interface Failure {
  readonly error: unknown;
}

async function failureOf(body: () => Promise<void>): Promise<Failure | null> {
  try {
    await body();
    return null;
  } catch (error) {
    return { error };
  }
}

/** Meets the other ranks, and throws if this one or another has failed. */
async function meet(joint: JointSave, own: Failure | null): Promise<void> {
  let failure;
  try {
    failure = await joint.meet(own === null ? null : textOf(own.error));
  } catch (error) {
    throw own === null ? error : own.error;
  }
  if (failure === null) return;
  if (own !== null && !(own.error instanceof CheckpointError)) throw own.error;
  const message = cannot("save the state", `rank ${failure.rank} has failed`, failure.text);
  throw new CheckpointError(message, { cause: own?.error });
}

/** The longest reason that other ranks get. */
const MOST_LETTERS = 1000;

function textOf(error: unknown): string {
  if (error instanceof CheckpointError) return error.message.slice(0, MOST_LETTERS);
  return `${error}`.slice(0, MOST_LETTERS).toWellFormed();
}
