/** The files of this system, through Deno's API or that of Node.js, which Bun has too. */

import { denoFiles } from "./deno_files.ts";
import { nodeFiles } from "./node_files.ts";
import type { Files } from "./types.ts";

export type { FileInfo, Files, OpenFile } from "./types.ts";

/** The functions for files. A browser has none: `checkFiles` of core/runtime.ts comes before. */
export function files(): Files {
  return typeof Deno === "undefined" ? nodeFiles() : denoFiles;
}
