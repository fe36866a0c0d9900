/** The program that installs the native library. */

import { commandOf, environment, platform, runtimeName } from "../core/platform.ts";
import { VERSION } from "../core/version.ts";
import { CHOICE } from "../native/candidates.ts";
import { findCaller } from "../native/ffi.ts";
import { KernelInstallError } from "./error.ts";
import { installKernels, RELEASES, uninstallKernels } from "./install.ts";
import { DEFAULT_TIMEOUT } from "./patience.ts";
import { drawProgress } from "./progress.ts";
import { hideSecrets } from "./secrets.ts";

/** Runs it. An installation that fails ends the process with code 1, wrong options with 2. */
export async function runInstall(args: readonly string[]): Promise<void> {
  try {
    await run(readOptions(args));
  } catch (error) {
    if (!(error instanceof KernelInstallError || error instanceof RangeError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

const usage = () =>
  `Installs the native library of Descent ${VERSION}: checks it against the SHA-256 in this
package and puts it into the user's cache folder.

${commandOf("install", VERSION)} [options]

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

function readOptions(args: readonly string[]) {
  const { parseArgs } = process.getBuiltinModule("node:util"); // a browser can import the rest
  try {
    const { timeout, ...values } = parseArgs({ args: [...args], options: OPTIONS }).values;
    if (timeout !== undefined && !/^[0-9]+(\.[0-9]+)?$/.test(timeout)) {
      throw new TypeError(`Option '--timeout' must be a number of seconds: it is '${timeout}'`);
    }
    return { ...values, timeout: timeout === undefined ? undefined : Number(timeout) };
  } catch (error) {
    console.error(`${hideSecrets((error as Error).message)}\n\n${usage()}`);
    process.exit(2);
  }
}

async function run(options: ReturnType<typeof readOptions>): Promise<void> {
  if (options.help) return console.log(usage());
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
    onProgress: process.stderr.isTTY ? drawProgress : undefined,
  });
  const verb = wasThere ? "Already installed" : "Installed";
  console.log(`${verb}: native library ${version}, ${(size / 1e6).toFixed(2)} MB\n${path}`);
  if (runtimeName() === "deno") {
    console.log(`\nPrograms may load it with --allow-ffi=${path} and ${findFlag(options.to)}`);
  } else if (folder !== undefined) {
    console.log(`\nPrograms find it if ${CHOICE} names this file`);
  } else if (findCaller() === null) {
    console.log(`\nPrograms may load it with koffi (npm install koffi) or Node.js 26.1 or newer`);
  }
}

/** The permission with which a program finds the library. */
function findFlag(folder: string | undefined): string {
  if (folder !== undefined) return `--allow-env=${CHOICE}, which has to name this file`;
  const { os } = platform();
  const chosen = os === "linux" && environment("XDG_CACHE_HOME")?.startsWith("/");
  return `--allow-env=${chosen ? "XDG_CACHE_HOME" : os === "windows" ? "LOCALAPPDATA" : "HOME"}`;
}
