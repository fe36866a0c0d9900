/** Builds the native kernels: `deno task build`. */

import { join } from "@std/path/join";

const KERNELS = join(import.meta.dirname!, "..", "kernels");
const MANIFEST = join(KERNELS, "Cargo.toml");
const TARGET = join(KERNELS, "target");

/**
 * Builds the kernels with cargo, in release mode.
 *
 * @returns Whether there is a cargo; without one, Descent runs on its js backend.
 * @throws {Error} If cargo fails; its own output is on the screen by then.
 */
export async function buildKernels(): Promise<boolean> {
  const start = performance.now();
  const quiet = Deno.stderr.isTerminal() ? [] : ["--quiet"]; // on a terminal cargo shows progress
  const cargo = startCargo(["build", "--release", "--locked", ...quiet]);
  if (cargo === undefined) {
    console.log(
      "cargo is not installed: the native kernels are not built; without them the js backend runs",
    );
    return false;
  }
  console.log("Building the native kernels (cargo, release; the first time takes minutes) ...");
  const { code } = await cargo.status;
  if (code !== 0) {
    throw new Error(`Cannot build the native kernels: cargo failed with code ${code}`);
  }
  console.log(`Built the native kernels in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return true;
}

function startCargo(args: readonly string[]): Deno.ChildProcess | undefined {
  try {
    return new Deno.Command("cargo", {
      args: [...args, "--manifest-path", MANIFEST, "--target-dir", TARGET],
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

if (import.meta.main) {
  try {
    await buildKernels();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
