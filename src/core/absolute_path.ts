/** Paths that stay the same when the program changes its current folder. */

import { currentFolder, platform } from "./platform.ts";

/** Whether the current folder does not matter to a path; on Windows its drive may. */
export function isAbsolute(path: string): boolean {
  return platform().os === "windows" ? /^([a-z]:|[\\/])/i.test(path) : path.startsWith("/");
}

/** The absolute path. It is returned unchanged if the current folder no longer exists. */
export function toAbsolute(path: string): string {
  if (isAbsolute(path)) return path;
  try {
    const folder = currentFolder();
    return /[\\/]$/.test(folder) ? folder + path : `${folder}/${path}`;
  } catch {
    return path;
  }
}
