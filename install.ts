/**
 * Installs the native library of Descent, as a program or from code. The library is checked against
 * the SHA-256 in this package and put into the user's cache folder, where every program finds it.
 *
 * ```sh
 * deno run -A jsr:@descent/sgd/install
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

import { installKernels, RELEASES, uninstallKernels } from "./src/install/install.ts";
import { KernelInstallError } from "./src/install/error.ts";
import { DEFAULT_TIMEOUT } from "./src/install/patience.ts";
import { hideSecrets } from "./src/install/secrets.ts";
import { drawProgress } from "./src/install/progress.ts";
import { canRun, isStarted } from "./src/core/runtime.ts";
import { VERSION } from "./src/core/version.ts";

export { KernelInstallError } from "./src/install/error.ts";
export { installKernels, uninstallKernels } from "./src/install/install.ts";
export type { InstalledKernels, InstallOptions, UninstallOptions } from "./src/install/install.ts";
export type { InstallProgress } from "./src/install/source.ts";

const USAGE =
  `Installs the native library of Descent ${VERSION}: checks it against the SHA-256 in this
package and puts it into the user's cache folder.

deno run -A jsr:@descent/sgd@${VERSION}/install [options]

  --from DIR|URL  a folder or a mirror that holds the released files
                  (default: ${RELEASES}/v${VERSION})
  --to DIR        another folder; DENO_DESCENT_KERNELS has to name the file then
  --timeout SECONDS
                  give up if fewer than 64 KiB come in so much time (default: ${DEFAULT_TIMEOUT})
  --cpu-only      the smaller library, without the GPU path
  --uninstall     remove this version's libraries
  --all           with --uninstall: remove the libraries of every version
  --help          show this text`;

const OPTIONS = {
  from: { type: "string" },
  to: { type: "string" },
  timeout: { type: "string" },
  "cpu-only": { type: "boolean" },
  uninstall: { type: "boolean" },
  all: { type: "boolean" },
  help: { type: "boolean" },
} as const;

async function readOptions(args: string[]) {
  const { parseArgs } = await import("node:util"); // a browser can import the rest
  try {
    const { timeout, ...values } = parseArgs({ args, options: OPTIONS }).values;
    if (timeout !== undefined && !/^[0-9]+(\.[0-9]+)?$/.test(timeout)) {
      throw new TypeError(`Option '--timeout' must be a number of seconds: it is '${timeout}'`);
    }
    return { ...values, timeout: timeout === undefined ? undefined : Number(timeout) };
  } catch (error) {
    console.error(`${hideSecrets((error as Error).message)}\n\n${USAGE}`);
    Deno.exit(2);
  }
}

async function run(options: Awaited<ReturnType<typeof readOptions>>): Promise<void> {
  if (options.help) return console.log(USAGE);
  const folder = options.to;
  if (options.uninstall) {
    const removed = await uninstallKernels({ folder, all: options.all });
    return console.log(removed.map((path) => `Removed ${path}`).join("\n") || "Nothing to remove");
  }
  const { path, version, size, wasThere } = await installKernels({
    from: options.from,
    folder,
    cpuOnly: options["cpu-only"],
    timeout: options.timeout,
    onProgress: Deno.stderr.isTerminal() ? drawProgress : undefined,
  });
  const verb = wasThere ? "Already installed" : "Installed";
  console.log(`${verb}: native library ${version}, ${(size / 1e6).toFixed(2)} MB\n${path}`);
  console.log(`\nPrograms may load it with --allow-ffi=${path} and ${findFlag(options.to)}`);
}

/** The permission with which a program finds the library. */
function findFlag(folder: string | undefined): string {
  if (folder !== undefined) return "--allow-env=DENO_DESCENT_KERNELS, which has to name this file";
  const variable = Deno.build.os === "windows" ? "LOCALAPPDATA" : "HOME";
  const chosen = Deno.build.os === "linux" && Deno.env.get("XDG_CACHE_HOME")?.startsWith("/");
  return `--allow-env=${chosen ? "XDG_CACHE_HOME" : variable}`;
}

async function main(): Promise<void> {
  try {
    await run(await readOptions(Deno.args));
  } catch (error) {
    if (!(error instanceof KernelInstallError || error instanceof RangeError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}

if (import.meta.main ?? isStarted(import.meta.url)) {
  if (canRun("install the native library", "the js backend runs everywhere")) await main();
}
