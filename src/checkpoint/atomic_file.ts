/**
 * Replaces files so that a crash at any moment leaves the old file or the new one.
 *
 * The new file is written beside the old one under a temporary name, made durable, and then renamed.
 * A file of such a name whose process has ended was left behind, and the next writer removes it.
 */

import { isAbsolute } from "../core/absolute_path.ts";
import { toHex } from "../core/hex.ts";
import { allowed, platform } from "../core/platform.ts";
import { failure } from "../core/validate.ts";
import { files } from "../files/files.ts";
import type { FileInfo, OpenFile } from "../files/files.ts";
import { CheckpointError } from "./errors.ts";

/** A file that is to be replaced. */
interface Target {
  readonly path: string;
  /** The folder, with a separator at its end. */
  readonly folder: string;
  /** How the names of its temporary files begin. */
  readonly prefix: string;
}

/** How a file is replaced. */
export interface Replacing {
  /** The path that the new file gets instead of the old one's, which stays then. */
  readonly as?: string;
  /** Called when the new file is complete and durable; an error that it throws leaves the old one. */
  readonly ready?: () => Promise<void>;
}

/**
 * Writes a file in full or not at all.
 *
 * @param path The absolute path: the current folder may change during the call. A symbolic link is
 * followed, permission bits of an old file are kept.
 * @param write Writes the content to the file that it gets.
 * @throws {CheckpointError} If the system does not let the file be written; the old one is unchanged.
 */
export async function replaceFile(
  path: string,
  write: (file: OpenFile) => Promise<void>,
  { as, ready }: Replacing = {},
): Promise<void> {
  try {
    const target = await toTarget(await followLink(path));
    const old = await statOrNull(target.path);
    if (old?.isDirectory) throw new CheckpointError("it is a directory");
    if (old !== null && !old.isFile) throw new CheckpointError("it is not a regular file");
    await sweep(target);
    await writeAndRename(target, old?.mode ?? null, as ?? target.path, async (file) => {
      await write(file);
      await file.sync();
      await ready?.();
    });
    await syncFolder(target.folder);
  } catch (error) {
    throw explain(error, `save ${path}`);
  }
}

/**
 * Removes what killed processes left of writing a file, where that is allowed without asking.
 *
 * @param path The file.
 */
export async function removeStaleTemporaries(path: string): Promise<void> {
  if (!mayChange(splitPath(path).folder)) return;
  const target = await toTarget(await followLink(path));
  if (mayChange(target.folder)) await sweep(target);
}

function mayChange(folder: string): boolean {
  return allowed({ name: "read", path: folder }) && allowed({ name: "write", path: folder });
}

/** Makes errors of files say what was being done. Missing permissions and other errors stay. */
export function explain(error: unknown, doing: string): unknown {
  if (!(error instanceof CheckpointError) && !files().isSystemError(error)) return error;
  const { message, cause } = error as Error;
  return new CheckpointError(failure(doing, message), { cause: cause ?? error });
}

async function toTarget(path: string): Promise<Target> {
  const { folder, name } = splitPath(path);
  return { path, folder, prefix: await prefixOf(name) };
}

/** The folder of a path, with a separator at its end, and the name in it. */
export function splitPath(path: string): { folder: string; name: string } {
  const at = platform().os === "windows"
    ? Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"))
    : path.lastIndexOf("/");
  return { folder: path.slice(0, at + 1) || "./", name: path.slice(at + 1) };
}

/**
 * How the names of a file's temporary files begin. It is a digest, as a name may be as long as the
 * system lets it be, and begin like another one.
 */
export async function prefixOf(name: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name));
  return `.${toHex(new Uint8Array(digest, 0, 8))}.`;
}

/** What a path stands for, also if it is a link to a file that is not there yet. */
async function followLink(path: string): Promise<string> {
  try {
    if (!(await files().lstat(path)).isSymlink) return path;
  } catch (error) {
    if (files().isNotFound(error)) return path;
    throw error;
  }
  try {
    return await files().realPath(path);
  } catch (error) {
    if (!(files().isNotFound(error))) throw error;
  }
  const next = await files().readLink(path);
  return await followLink(isAbsolute(next) ? next : splitPath(path).folder + next);
}

async function statOrNull(path: string): Promise<FileInfo | null> {
  try {
    return await files().stat(path);
  } catch (error) {
    if (files().isNotFound(error)) return null;
    throw error;
  }
}

async function writeAndRename(
  target: Target,
  mode: number | null,
  name: string,
  write: (file: OpenFile) => Promise<void>,
): Promise<void> {
  const { file, path } = await createTemporary(target);
  try {
    if (mode !== null && platform().os !== "windows") await files().chmod(path, mode & 0o7777);
    await write(file);
    await files().rename(path, name);
  } catch (error) {
    await files().remove(path).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
}

/** Makes a file that nobody else takes for a leftover. */
async function createTemporary({ folder, prefix }: Target) {
  const { suffix, uniquePart, claim } = files().ownership;
  for (;;) {
    const path = `${folder}${prefix}${uniquePart()}${suffix}`;
    const file = await files().open(path, "create");
    // Between these two lines another process may have taken the file for a leftover.
    if (await claim(file) && await statOrNull(path) !== null) return { file, path };
    await file.close();
  }
}

/** Removes the target's temporary files whose processes have ended. */
async function sweep({ folder, prefix }: Target): Promise<void> {
  const { suffix, isLeftover } = files().ownership;
  for (const name of await files().list(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith(suffix)) continue;
    const path = folder + name;
    const file = await openLeftover(path);
    if (file === null) continue;
    try {
      const middle = name.slice(prefix.length, -suffix.length);
      if (await isLeftover(file, middle)) await files().remove(path).catch(() => {});
    } finally {
      await file.close();
    }
  }
}

/**
 * Opens a file that may have been left behind; null if it cannot be one. Anybody may put a pipe, a
 * socket, a device, a folder or a link under such a name: opening those could wait for ever.
 *
 * Between the look and the opening a pipe may take the file's place. Opened for both directions, it
 * does not wait for its other end on Linux, macOS and Windows. Only a device whose driver waits could
 * still stop the caller, and who can place one there is root.
 */
async function openLeftover(path: string): Promise<OpenFile | null> {
  let file: OpenFile | undefined;
  try {
    if (!(await files().lstat(path)).isFile) return null;
    file = await files().open(path, "update");
    if ((await file.stat()).isFile) return file;
  } catch {
    // It is gone, or somebody else's.
  }
  await file?.close();
  return null;
}

/** Makes the renaming durable. On Windows folders cannot be opened, and renaming is journaled. */
async function syncFolder(folder: string): Promise<void> {
  if (platform().os === "windows") return;
  const handle = await files().open(folder, "read");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
