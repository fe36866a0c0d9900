/** Other runtimes than Deno, as npm brings them, for tests of what the package does there. */

import { join } from "@std/path/join";
import { firstThatRuns, ROOT, run } from "../publish/stage.ts";
import type { Outcome } from "../publish/stage.ts";

/** A runtime that tests can use. */
export interface Runtime {
  readonly name: string;
  /** The program. */
  readonly program: string;
  /** What calls native code there, with koffi installed. */
  readonly caller: "koffi" | "node:ffi" | "bun:ffi";
  /** Whether it has `Float16Array`. */
  readonly hasFloat16: boolean;
}

/** A runtime, or why this machine has none. */
export type RuntimeOrReason = Runtime | { readonly name: string; readonly reason: string };

/** Where packages are kept between runs: a runtime takes 100 MB. */
const KEPT = join(ROOT, "out", "npm");

const ARCH = Deno.build.arch === "x86_64" ? "x64" : Deno.build.arch;

/** The npm packages that tests use. */
export const PACKAGES = {
  "Node.js 22": "node@22.23.3",
  "Node.js 24": "node@24.21.0",
  "Node.js 26": "node@26.10.0",
  Bun: `@oven/bun-${Deno.build.os}-${ARCH}@1.4.5`,
  esbuild: "esbuild@0.28.2",
  koffi: "koffi@3.3.4",
  typescript: "typescript@7.0.2",
  "ONNX Runtime Web": "onnxruntime-web@1.23.2",
  "the oldest TypeScript": "typescript@5.8.3",
} as const;

/** The npm of this machine; undefined if there is none. */
export const npm: string | undefined = await firstThatRuns(["npm"], "--version");

/**
 * The `node_modules` of a package that npm installs, alone.
 *
 * @returns A folder, or null if the package cannot be fetched.
 */
export async function modulesOf(name: keyof typeof PACKAGES): Promise<string | null> {
  const folder = join(KEPT, PACKAGES[name].replaceAll(/[^\w.]+/g, "-"));
  const done = join(folder, "done");
  if (await Deno.stat(done).then(() => true, () => false)) return join(folder, "node_modules");
  if (npm === undefined) return null;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(join(folder, "package.json"), '{ "private": true }');
  const quiet = ["--no-audit", "--no-fund", "--no-save", "--loglevel=error", "--fetch-retries=1"];
  const { code } = await run(npm, ["install", ...quiet, PACKAGES[name]], {
    cwd: folder,
    signal: AbortSignal.timeout(300_000),
  });
  if (code !== 0) return null;
  await Deno.writeTextFile(done, "");
  return join(folder, "node_modules");
}

/** The runtimes: the machine's own Node.js, others, and Bun. */
export const RUNTIMES: readonly RuntimeOrReason[] = [
  await machineNode(),
  await fetched("Node.js 22", "node/bin/node", { caller: "koffi", hasFloat16: false }),
  await fetched("Node.js 24", "node/bin/node", { caller: "koffi", hasFloat16: true }),
  await fetched("Node.js 26", "node/bin/node", { caller: "node:ffi", hasFloat16: true }),
  await fetched("Bun", `${PACKAGES.Bun.replace(/@[^@]+$/, "")}/bin/bun`, {
    ...{ caller: "bun:ffi", hasFloat16: true },
  }),
];

/** One runtime for each way to call native code. */
export const CALLERS: readonly RuntimeOrReason[] = RUNTIMES.filter(({ name }) =>
  !/^Node.js 2[24]$/.test(name)
);

async function machineNode(): Promise<RuntimeOrReason> {
  const name = "the machine's Node.js";
  // Where Node.js is not installed, a task of Deno may find Deno itself under its name.
  const program = await firstThatRuns(["node"], "-e", "process.exit('Deno' in globalThis ? 1 : 0)");
  if (program === undefined) return { name, reason: "no node" };
  const ask = "console.log(require('module').isBuiltin('node:ffi'), typeof Float16Array)";
  const [hasFfi, float16] = (await run(program, ["-e", ask])).out.trim().split(" ");
  const caller = hasFfi === "true" ? "node:ffi" : "koffi";
  return { name, program, caller, hasFloat16: float16 === "function" };
}

async function fetched(
  name: Extract<keyof typeof PACKAGES, `Node.js ${string}` | "Bun">,
  path: string,
  traits: Pick<Runtime, "caller" | "hasFloat16">,
): Promise<RuntimeOrReason> {
  const modules = await modulesOf(name);
  if (modules === null) return { name, reason: `npm cannot fetch ${PACKAGES[name]}` };
  const program = join(modules, path) + (Deno.build.os === "windows" ? ".exe" : "");
  const { code } = await run(program, ["--version"]).catch(() => ({ code: 1 }));
  return code === 0 ? { name, program, ...traits } : { name, reason: `${program} does not run` };
}

/** Registers a test for each runtime; one that is missing is reported as ignored, with the reason. */
export function testOnRuntimes(
  runtimes: readonly RuntimeOrReason[],
  name: string,
  body: (runtime: Runtime) => Promise<void>,
  missing: string | null = null,
): void {
  for (const runtime of runtimes) {
    const reason = missing ?? ("reason" in runtime ? runtime.reason : null);
    Deno.test({
      name: `${runtime.name}: ${name}${reason === null ? "" : ` (skipped: ${reason})`}`,
      ignore: reason !== null,
      fn: () => body(runtime as Runtime),
    });
  }
}

/** Bundles a program of this repository, for runtimes that do not read TypeScript. */
export async function bundle(
  source: string,
  output: string,
  platform: "browser" | "deno" = "deno",
  format: "esm" | "cjs" = "esm",
): Promise<void> {
  const kind = ["--platform", platform, "--format", format];
  const args = ["bundle", "--quiet", ...kind, "--output", output, source];
  const { code, err } = await run(Deno.execPath(), args, { cwd: ROOT });
  if (code !== 0) throw new Error(err);
}

/** Puts koffi beside the programs of a folder. */
export async function linkKoffi(folder: string): Promise<void> {
  const modules = await modulesOf("koffi");
  if (modules === null) throw new Error(`npm cannot fetch ${PACKAGES.koffi}`);
  await Deno.symlink(modules, join(folder, "node_modules"));
}

/** Runs a program without what the runtime says about its own features. */
export async function runIn(
  { program, caller }: Runtime,
  args: readonly string[],
  options: Omit<Deno.CommandOptions, "args"> = {},
): Promise<Outcome> {
  const flags = caller === "bun:ffi" ? [] : ["--no-warnings"];
  return await run(program, [...flags, ...args], options);
}
