/** The folder of installed libraries: complete files only, under names that no other file has. */

import { failure } from "../core/validate.ts";
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
    await Deno.mkdir(folder, { recursive: true });
    await writeSynced(part, bytes);
    await Deno.rename(part, path);
    return path;
  } catch (cause) {
    await Deno.remove(part).catch(() => {});
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
    const { isFile, size: present } = await Deno.stat(path);
    if (!isFile || present !== size) return undefined;
    const bytes = await Deno.readFile(path);
    return bytes.length === size ? bytes : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
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
      await Deno.remove(path);
    } catch (cause) {
      const why = `a program may be using it: ${(cause as Error).message}`;
      throw new KernelInstallError(failure(`remove ${path}`, why), { cause });
    }
    removed.push(path);
  }
  await Deno.remove(folder).catch(() => {}); // fails, as it should, while anything is left in it
  return removed.sort();
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await Deno.open(path, { write: true, createNew: true, mode: 0o644 });
  try {
    for (let written = 0; written < bytes.length;) {
      written += await file.write(bytes.subarray(written));
    }
    await file.sync(); // a full disk may show only here
  } finally {
    file.close();
  }
}

async function listNames(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map((entry) => entry.name);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return [];
    throw new KernelInstallError(failure(`read ${folder}`, (cause as Error).message), { cause });
  }
}
