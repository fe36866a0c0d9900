/**
 * Installs the native library of Descent, as a program or from code. The library is checked against
 * the SHA-256 in this package and put into the user's cache folder, where every program finds it.
 *
 * ```sh
 * deno run -A jsr:@descent/sgd/install   # Deno
 * npx @descent/sgd install               # Node.js; in Bun, bunx
 * ```
 *
 * | | |
 * | --- | --- |
 * | the program | `--help` lists its options: `--from`, `--to`, `--cpu-only`, `--uninstall` ... |
 * | {@linkcode installKernels} | installs this version's library for this platform |
 * | {@linkcode uninstallKernels} | removes this version's libraries, or those of all versions |
 * | {@linkcode KernelInstallError} | thrown if either fails; nothing half-installed is left behind |
 *
 * Guide: [installation](https://github.com/descent/sgd/blob/main/docs/install.md).
 *
 * @example Install from code, from a mirror
 * ```ts ignore
 * import { installKernels } from "@descent/sgd/install";
 *
 * await installKernels({ from: "https://mirror.example/descent", cpuOnly: true });
 * ```
 *
 * @module
 */

import { runInstall } from "./src/install/program.ts";
import { canRun, isOwnFile, isStarted } from "./src/core/runtime.ts";

export { KernelInstallError } from "./src/install/error.ts";
export { installKernels, uninstallKernels } from "./src/install/install.ts";
export type { InstalledKernels, InstallOptions, UninstallOptions } from "./src/install/install.ts";
export type { InstallProgress } from "./src/install/source.ts";

if ((import.meta.main ?? isStarted(import.meta.url)) && isOwnFile(import.meta.url, "install")) {
  if (canRun("install the native library", "the js backend runs everywhere")) {
    runInstall(process.argv.slice(2)); // not awaited: a module that awaits cannot become a script
  }
}
