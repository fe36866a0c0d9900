/** Installing and removing the native library of this version. */

import { CHECKSUMS } from "../native/checksums.ts";
import { cachedName, cacheFolder, cacheVariables, releasedName, STEM } from "../native/release.ts";
import type { ReleasedFile } from "../native/release.ts";
import { checkDeno } from "../core/runtime.ts";
import { VERSION } from "../core/version.ts";
import { KernelInstallError } from "./error.ts";
import { cannot, checkOptions } from "../core/validate.ts";
import { place, readIfThere, removeAll } from "./folder.ts";
import { nodePath } from "./node.ts";
import { checkTimeout, DEFAULT_TIMEOUT } from "./patience.ts";
import { folderOf, urlOf } from "./places.ts";
import { hash, readReleased } from "./source.ts";
import type { InstallProgress } from "./source.ts";

/** Where the releases are: one folder per version. */
export const RELEASES = "https://github.com/descent/sgd/releases/download";

/**
 * Options of {@linkcode installKernels}.
 *
 * @category Install
 */
export interface InstallOptions {
  /**
   * The folder or `http:`, `https:` or `file:` URL that holds the released files.
   *
   * @default {the release of this version on GitHub}
   */
  readonly from?: string | URL;
  /**
   * The folder to put the library into. A library in another folder than the default one is found
   * only if the environment variable `DENO_DESCENT_KERNELS` names its file.
   *
   * @default {the folder "descent-sgd" in the user's cache folder}
   */
  readonly folder?: string;
  /**
   * Whether to install the smaller library, which has no GPU path.
   *
   * @default {false}
   */
  readonly cpuOnly?: boolean;
  /**
   * How long to wait, in seconds: installing fails if fewer than 64 KiB arrive in this time.
   *
   * @default {30}
   */
  readonly timeout?: number;
  /** Called after each piece of the download with the progress. */
  readonly onProgress?: (progress: InstallProgress) => void;
}

/**
 * An installed library.
 *
 * @category Install
 */
export interface InstalledKernels {
  /** The path of its file. */
  readonly path: string;
  /** Its version, which is that of this package. */
  readonly version: string;
  /** Its SHA-256, in lower-case hexadecimal. */
  readonly sha256: string;
  /** Its size in bytes. */
  readonly size: number;
  /** Whether it was already there, complete, so that nothing was downloaded. */
  readonly wasThere: boolean;
}

/**
 * Options of {@linkcode uninstallKernels}.
 *
 * @category Install
 */
export interface UninstallOptions {
  /**
   * The folder to remove libraries from.
   *
   * @default {the folder "descent-sgd" in the user's cache folder}
   */
  readonly folder?: string;
  /**
   * Whether to remove the libraries of all versions, not of this one alone.
   *
   * @default {false}
   */
  readonly all?: boolean;
}

/**
 * Installs the native library of this version for this platform.
 *
 * Downloads it from this version's release, checks its size and SHA-256 against the ones in this
 * package, and only then puts it into the user's cache folder, in one step, under a name with version
 * and hash. A complete library that is already there stays. Needs the permissions `net` (or `read`
 * for a folder), `read` and `write` for the cache folder, and `env` for the variables that name it.
 *
 * @example Install on first use
 * ```ts ignore
 * import { installKernels } from "@descent/sgd/install";
 *
 * const { path } = await installKernels();
 * console.log(path);
 * ```
 *
 * @param options Where from, where to, and which library.
 * @returns What was installed, and where.
 * @throws {KernelInstallError} If there is no library for this platform, it cannot be downloaded, does
 * not come in time, is not the released one, or cannot be written. Nothing half-installed is left behind.
 * @throws {TypeError} If an option is of another type or does not exist.
 * @throws {RangeError} If `timeout` is not above 0.
 *
 * @category Install
 */
export async function installKernels(options: InstallOptions = {}): Promise<InstalledKernels> {
  checkDeno("install the native library", INSTEAD);
  checkOptions(options, ["from", "folder", "cpuOnly", "timeout", "onProgress"]);
  const { cpuOnly = false, timeout = DEFAULT_TIMEOUT, onProgress = () => {} } = options;
  checkTimeout(timeout);
  const name = releasedName(VERSION, Deno.build, cpuOnly);
  const url = urlOf(options.from ?? `${RELEASES}/v${VERSION}`, name);
  const folder = folderOf(options.folder ?? defaultFolder());
  const file = releasedFile(name);
  const { join } = nodePath();
  const cached = cachedName(name, file.sha256);
  const installed = { version: VERSION, sha256: file.sha256, size: file.size };
  if (await isComplete(join(folder, cached), file)) {
    return { path: join(folder, cached), ...installed, wasThere: true };
  }
  const bytes = await readReleased(url, file, { timeout, onProgress });
  return { path: await place(folder, cached, bytes), ...installed, wasThere: false };
}

/**
 * Removes this version's native libraries from the user's cache folder.
 *
 * @example Remove every version's
 * ```ts ignore
 * import { uninstallKernels } from "@descent/sgd/install";
 *
 * const removed = await uninstallKernels({ all: true });
 * console.log(removed);
 * ```
 *
 * @param options Which folder and which versions.
 * @returns The removed files; empty if there were none.
 * @throws {KernelInstallError} If a file cannot be removed.
 *
 * @category Install
 */
export async function uninstallKernels(options: UninstallOptions = {}): Promise<string[]> {
  checkDeno("uninstall the native library", INSTEAD);
  checkOptions(options, ["folder", "all"]);
  const { folder = defaultFolder(), all = false } = options;
  return await removeAll(folderOf(folder), all ? `${STEM}-` : `${STEM}-${VERSION}-`);
}

/** What errors recommend where there is no library for a platform. */
const INSTEAD = "the js backend runs everywhere";

function releasedFile(name: string): ReleasedFile {
  const file = CHECKSUMS[name];
  if (file !== undefined) return file;
  const known = Object.keys(CHECKSUMS);
  throw new KernelInstallError(
    cannot(
      `install ${name}`,
      "this package knows no such file",
      known.length === 0
        ? "it is not a release; build the library with deno task build"
        : `it knows ${known.join(", ")}; ${INSTEAD}`,
    ),
  );
}

function defaultFolder(): string {
  const folder = cacheFolder(Deno.build.os, (variable) => Deno.env.get(variable));
  if (folder !== undefined) return folder;
  throw new KernelInstallError(
    cannot(
      "find the user's cache folder",
      `${cacheVariables(Deno.build.os).join(" and ")} must be set`,
      "set one, or choose a folder with --to",
    ),
  );
}

async function isComplete(path: string, file: ReleasedFile): Promise<boolean> {
  const bytes = await readIfThere(path, file.size);
  return bytes !== undefined && await hash(bytes) === file.sha256;
}
