/**
 * Builds the native kernels and runs a program with Deno, as tasks do that measure:
 * `tools/run_built.ts [flags of deno run] PROGRAM [options]`. With --help nothing is built, as the
 * program only prints a text.
 */

import { buildKernels } from "./build.ts";

/** Runs `deno run` with these arguments, and returns its exit code. */
async function runBuilt(args: readonly string[]): Promise<number> {
  if (!args.includes("--help")) await buildKernels();
  const child = new Deno.Command(Deno.execPath(), { args: ["run", ...args] }).spawn();
  return (await child.status).code;
}

if (import.meta.main) {
  try {
    Deno.exit(await runBuilt(Deno.args));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
