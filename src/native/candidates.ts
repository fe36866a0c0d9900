/** The places where a native library may be, in the order of the search. No file is opened here. */

import { toAbsolute } from "../core/absolute_path.ts";
import { allowed, platform, readVariable } from "../core/platform.ts";
import { VERSION } from "../core/version.ts";
import { CHECKSUMS } from "./checksums.ts";
import { builtName, cachedName, cacheFolder, cacheVariables, releasedName } from "./release.ts";
import type { ReleasedFile } from "./release.ts";

/** The environment variable that names a library's file. */
export const CHOICE = "DENO_DESCENT_KERNELS";

/** A place where a library may be. */
export interface Candidate {
  /** Why the search includes this place. */
  readonly source: typeof CHOICE | "own build" | "cache";
  /**
   * The absolute path of the file: the system's loader searches elsewhere for names without a
   * folder.
   */
  readonly path: string;
  /** The size and hash of the released file, if it comes from a release. */
  readonly released?: ReleasedFile;
}

/**
 * All places: only the chosen file if there is one, otherwise the repository's own build and the
 * cache.
 */
export function listCandidates(): Candidate[] {
  const chosen = readVariable(CHOICE);
  if (chosen !== undefined) return [{ source: CHOICE, path: toAbsolute(chosen) }];
  const build = ownBuild();
  const candidates = listCached();
  if (build !== undefined) candidates.unshift({ source: "own build", path: build });
  return candidates;
}

/** The variables that locate the cache but may not be read; empty if the cache folder is known. */
export function hiddenCacheVariables(): readonly string[] {
  const variables = cacheVariables(platform().os);
  if (cacheFolder(platform().os, readVariable) !== undefined) return [];
  return variables.filter((variable) => !allowed({ name: "env", variable }));
}

function ownBuild(): string | undefined {
  // A package from a registry and a bundle have no build next to them. Bundlers look for the files of
  // URLs that are made of `import.meta.url` itself.
  const here = import.meta.url;
  if (!/^file:.*\/src\/native\/candidates\.ts$/.test(here)) return undefined;
  const name = builtName(platform().os);
  const url = new URL(`../../kernels/target/release/${name}`, here);
  const path = decodeURIComponent(url.pathname);
  return platform().os === "windows" ? path.slice(1).replaceAll("/", "\\") : path;
}

/** The full library comes first: it can do everything that the one without the GPU path can. */
function listCached(): Candidate[] {
  const folder = cacheFolder(platform().os, readVariable);
  if (folder === undefined) return [];
  const separator = platform().os === "windows" ? "\\" : "/";
  return [false, true].flatMap((cpuOnly) => {
    const name = releasedName(VERSION, platform(), cpuOnly);
    const released = CHECKSUMS[name];
    if (released === undefined) return [];
    const path = folder + separator + cachedName(name, released.sha256);
    return [{ source: "cache", path, released }];
  });
}
