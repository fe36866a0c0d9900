/** Support for functions that only some runtimes have. */

import { runtimeName } from "./platform.ts";
import { cannot } from "./validate.ts";

/**
 * Refuses an operation that needs files where there are none.
 *
 * @param doing The operation, such as "save the state".
 * @param instead What to do there instead.
 * @throws {Error} In a browser.
 */
export function checkFiles(doing: string, instead: string): void {
  if (runtimeName() === null) {
    throw new Error(cannot(doing, "it needs Deno, Node.js or Bun", instead));
  }
}

/**
 * Whether a module was started as a program, in a Node.js that has no `import.meta.main`: it is asked
 * as `import.meta.main ?? isStarted(import.meta.url)`, of which Deno's bundler leaves nothing in imports.
 */
export function isStarted(url: string | undefined): boolean {
  if (typeof Deno !== "undefined" || typeof process === "undefined") return false;
  const [, program] = process.argv ?? [];
  const fs = process.getBuiltinModule?.("node:fs");
  if (program === undefined || fs === undefined || !url?.startsWith("file:")) return false;
  try {
    const { fileURLToPath } = process.getBuiltinModule("node:url");
    return fs.realpathSync(fileURLToPath(url)) === fs.realpathSync(program);
  } catch {
    return false; // there is no such file: it was started in another way
  }
}

/**
 * Whether a module is still a file of its own. In a bundle its URL is that of the bundle, and it has none
 * if the bundle is not a module: then it is not what was started.
 *
 * @param name The name of the file, without its ending.
 */
export function isOwnFile(url: string | undefined, name: string): boolean {
  return url !== undefined && new RegExp(`/${name}\\.[jt]s$`).test(url);
}

/**
 * Whether a program that needs files can run. If not it prints the reason, and the exit code is 1.
 *
 * @param doing What it does, as `checkFiles` takes it.
 * @param instead What to do there instead.
 */
export function canRun(doing: string, instead: string): boolean {
  try {
    checkFiles(doing, instead);
    return true;
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
    return false;
  }
}

/** Runs a function, and makes a promise of what it returns or throws: the new `Promise.try`. */
export function promiseOf<T>(run: () => T): Promise<T> {
  return new Promise((resolve) => resolve(run()));
}
