/**
 * Replaces files so that a crash at any moment leaves the old file or the new one.
 *
 * The new file is written beside the old one under a temporary name, made durable, and then renamed.
 * Its writer holds a lock on it, which the system releases however the process ends: a
 * file of such a name that is not locked was left behind, and the next writer removes it.
 */

import { isAbsolute } from "../core/absolute_path.ts";
import { failure } from "../core/validate.ts";
import { CheckpointError } from "./errors.ts";

const SUFFIX = ".descent-tmp";

/** A file that is to be replaced. */
interface Target {
  readonly path: string;
  /** The folder, with a separator at its end. */
  readonly folder: string;
  /** How the names of its temporary files begin. */
  readonly prefix: string;
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
  write: (file: Deno.FsFile) => Promise<void>,
): Promise<void> {
  try {
    const target = await toTarget(await followLink(path));
    const old = await statOrNull(target.path);
    if (old?.isDirectory) throw new CheckpointError("it is a directory");
    if (old !== null && !old.isFile) throw new CheckpointError("it is not a regular file");
    await sweep(target);
    await writeAndRename(target, old?.mode ?? null, write);
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
  if (!await mayChange(splitPath(path).folder)) return;
  const target = await toTarget(await followLink(path));
  if (await mayChange(target.folder)) await sweep(target);
}

async function mayChange(folder: string): Promise<boolean> {
  for (const name of ["read", "write"] as const) {
    const { state } = await Deno.permissions.query({ name, path: folder });
    if (state !== "granted") return false;
  }
  return true;
}

/** Makes errors of files say what was being done. Missing permissions and other errors stay. */
export function explain(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || error instanceof Deno.errors.NotCapable) return error;
  if (!(error instanceof CheckpointError) && !isIoError(error)) return error;
  return new CheckpointError(failure(doing, error.message), { cause: error.cause ?? error });
}

function isIoError(error: Error): boolean {
  return "code" in error ||
    Object.values(Deno.errors).some((type) => error instanceof type);
}

async function toTarget(path: string): Promise<Target> {
  const { folder, name } = splitPath(path);
  return { path, folder, prefix: await prefixOf(name) };
}

/** The folder of a path, with a separator at its end, and the name in it. */
function splitPath(path: string): { folder: string; name: string } {
  const at = Deno.build.os === "windows"
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
  return `.${new Uint8Array(digest, 0, 8).toHex()}.`;
}

/** What a path stands for, also if it is a link to a file that is not there yet. */
async function followLink(path: string): Promise<string> {
  try {
    if (!(await Deno.lstat(path)).isSymlink) return path;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return path;
    throw error;
  }
  try {
    return await Deno.realPath(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const next = await Deno.readLink(path);
  return await followLink(isAbsolute(next) ? next : splitPath(path).folder + next);
}

async function statOrNull(path: string): Promise<Deno.FileInfo | null> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function writeAndRename(
  target: Target,
  mode: number | null,
  write: (file: Deno.FsFile) => Promise<void>,
): Promise<void> {
  const { file, path } = await createTemporary(target);
  try {
    if (mode !== null && Deno.build.os !== "windows") await Deno.chmod(path, mode & 0o7777);
    await write(file);
    await file.sync();
    await Deno.rename(path, target.path);
  } catch (error) {
    await Deno.remove(path).catch(() => {});
    throw error;
  } finally {
    file.close();
  }
}

/** Makes a file that nobody else takes for a leftover. */
async function createTemporary({ folder, prefix }: Target) {
  for (;;) {
    const path = `${folder}${prefix}${crypto.randomUUID()}${SUFFIX}`;
    const file = await Deno.open(path, { write: true, createNew: true });
    // Between these two lines another process may have taken the file for a leftover.
    if (await lock(file) !== "taken" && await statOrNull(path) !== null) return { file, path };
    file.close();
  }
}

/** Removes the target's temporary files that nobody holds. */
async function sweep({ folder, prefix }: Target): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith(SUFFIX)) continue;
    const path = folder + name;
    const file = await openLeftover(path);
    if (file === null) continue;
    try {
      if (await lock(file) === "held") await Deno.remove(path).catch(() => {});
    } finally {
      file.close();
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
async function openLeftover(path: string): Promise<Deno.FsFile | null> {
  let file: Deno.FsFile | undefined;
  try {
    if (!(await Deno.lstat(path)).isFile) return null;
    file = await Deno.open(path, { read: true, write: true });
    if ((await file.stat()).isFile) return file;
  } catch {
    // It is gone, or somebody else's.
  }
  file?.close();
  return null;
}

/** Locks a file without waiting. Some network file systems have no locks. */
async function lock(file: Deno.FsFile): Promise<"held" | "taken" | "unavailable"> {
  try {
    return await file.tryLock(true) ? "held" : "taken";
  } catch {
    return "unavailable";
  }
}

/** Makes the renaming durable. On Windows folders cannot be opened, and renaming is journaled. */
async function syncFolder(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  const handle = await Deno.open(folder, { read: true });
  try {
    await handle.sync();
  } finally {
    handle.close();
  }
}
