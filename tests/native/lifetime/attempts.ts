/**
 * Programs in processes of their own, which end while steps run. Where they end well once, they may
 * not always: `DESCENT_ATTEMPTS=N` runs each of them N times.
 */

import { fromFileUrl } from "@std/path/from-file-url";
import { cpuMissing } from "../../support/backends.ts";

/** A test that needs the native library. */
export function testOnCpu(name: string, fn: () => Promise<void>): void {
  const reason = cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`;
  Deno.test({ name: name + reason, ignore: cpuMissing !== null, fn });
}

/** Runs a body for each number of elements and of threads, as often as programs are to be tried. */
export async function forEachAttempt(
  body: (elements: number, threads: number) => Promise<void>,
): Promise<void> {
  for (const elements of SIZES) {
    for (const threads of THREADS) {
      for (let i = 0; i < ATTEMPTS; i++) await body(elements, threads);
    }
  }
}

/** How many times each program runs. */
export const ATTEMPTS = Number(Deno.env.get("DESCENT_ATTEMPTS") || 1);

/** Numbers of elements of an optimizer's parameters. */
export const SIZES = ATTEMPTS === 1
  ? [1_000, 1_000_000, 16_000_000]
  : [1_000, 10_000, 100_000, 1_000_000, 4_000_000, 16_000_000];

/** One thread is the case in which nothing but the linker keeps the library loaded. */
export const THREADS = [1, 2];

/** How a process ended. */
export interface Ending {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  readonly out: string;
  readonly err: string;
}

/** The path of a program of this folder. */
export function pathOf(name: string): string {
  return fromFileUrl(new URL(name, import.meta.url));
}

/** A process of Deno's. */
export function start(args: readonly string[], threads: number): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { DESCENT_THREADS: String(threads), NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs a program of this folder with some arguments. */
export async function run(
  name: string,
  args: readonly (string | number)[],
  threads: number,
): Promise<Ending> {
  const flags = ["--quiet", "--no-check", "--no-prompt", "--allow-all"];
  return await endOf(start(["run", ...flags, pathOf(name), ...args.map(String)], threads));
}

/** Waits for the end of a process. */
export async function endOf(child: Deno.ChildProcess): Promise<Ending> {
  const { code, signal, stdout, stderr } = await child.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, signal, out, err };
}
