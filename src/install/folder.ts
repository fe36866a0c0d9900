/** The folder of installed libraries: complete files only, under names that no other file has. */

import { platform } from "../core/platform.ts";
import { failure } from "../core/validate.ts";
import { files } from "../files/files.ts";
import { STEM } from "../native/release.ts";
import { KernelInstallError } from "./error.ts";
import { nodePath } from "./node.ts";

/**
 * Puts a file into the folder in one step: a reader sees all of it or nothing.
 *
 * @returns The file's path.
 * @throws {KernelInstallError} If it cannot be written; nothing is left behind.
 */
export async function place(
  folder: string,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const path = nodePath().join(folder, name);
  const part = `${path}.${crypto.randomUUID()}.part`;
  try {
    await files().makeFolder(folder);
    await writeSynced(part, bytes);
    await files().rename(part, path);
    return path;
  } catch (cause) {
    await files().remove(part).catch(() => {});
    if (await holds(path, bytes)) return path; // Windows keeps a loaded library from being replaced
    throw new KernelInstallError(failure(`write ${path}`, (cause as Error).message), { cause });
  }
}

/** Whether a file has exactly these bytes. */
async function holds(path: string, bytes: Uint8Array): Promise<boolean> {
  const present = await readIfThere(path, bytes.length);
  return present !== undefined && present.every((byte, i) => byte === bytes[i]);
}

/**
 * A file's bytes, or undefined if there is no file of so many bytes that can be read. What is not a
 * file may have no end, and is not opened.
 */
export async function readIfThere(
  path: string,
  size: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const { isFile, size: present } = await files().stat(path);
    if (!isFile || present !== size) return undefined;
    const bytes = await readAll(path, size);
    return bytes.length === size ? bytes : undefined;
  } catch (error) {
    if (!files().isSystemError(error)) throw error;
    return undefined;
  }
}

/**
 * Removes the libraries whose names begin with a prefix, and what broken installs left of them.
 *
 * @returns The removed files.
 * @throws {KernelInstallError} If a file cannot be removed.
 */
export async function removeAll(folder: string, prefix: string): Promise<string[]> {
  const { join } = nodePath();
  const removed: string[] = [];
  for (const name of await listNames(folder)) {
    if (!name.startsWith(`${STEM}-`) || !name.startsWith(prefix)) continue;
    const path = join(folder, name);
    try {
      await files().remove(path);
    } catch (cause) {
      const why = `a program may be using it: ${(cause as Error).message}`;
      throw new KernelInstallError(failure(`remove ${path}`, why), { cause });
    }
    removed.push(path);
  }
  await files().remove(folder).catch(() => {}); // fails, as it should, while anything is left in it
  return removed.sort();
}

async function readAll(path: string, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const file = await files().open(path, "read");
  try {
    const bytes = new Uint8Array(size);
    let done = 0;
    while (done < size) {
      const count = await file.read(bytes.subarray(done));
      if (count === null) break;
      done += count;
    }
    return bytes.subarray(0, done);
  } finally {
    await file.close();
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await files().open(path, "create");
  try {
    for (let written = 0; written < bytes.length;) {
      written += await file.write(bytes.subarray(written));
    }
    await file.sync(); // a full disk may show only here
  } finally {
    await file.close();
  }
  if (platform().os !== "windows") await files().chmod(path, 0o644);
}

async function listNames(folder: string): Promise<string[]> {
  try {
    return await files().list(folder);
  } catch (cause) {
    if (files().isNotFound(cause)) return [];
    throw new KernelInstallError(failure(`read ${folder}`, (cause as Error).message), { cause });
  }
}
