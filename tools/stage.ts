/** Runs the commands that tasks are made of, and counts the tests that they ran. */

import { dirname } from "@std/path/dirname";
import { fromFileUrl } from "@std/path/from-file-url";
import { countSkipped, NO_REASON } from "./skipped.ts";

/** The repository. */
export const ROOT = dirname(dirname(fromFileUrl(import.meta.url)));

/** One command of a task. */
export interface Stage {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Reads how many tests passed and failed; without it the stage is one test. */
  readonly count?: RegExp;
  /** Whether it may pass without a test, as all of its tests can be ignored. */
  readonly mayBeEmpty?: boolean;
}

/** What `cargo test` says of its tests. */
export const CARGO_TESTS = /test result: \w+\. (\d+) passed; (\d+) failed/g;
/** What `deno test` says of its tests. */
export const DENO_TESTS = /\| (\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed/g;

/** How many tests passed and failed, the stages that they failed in, and why others were skipped. */
export interface Total {
  passed: number;
  failed: number;
  readonly broken: string[];
  /** The number of skipped tests by their reason. */
  readonly skipped: Map<string, number>;
}

/** Runs stages one after another, also after one that failed. */
export async function runStages(stages: readonly Stage[]): Promise<Total> {
  const total: Total = { passed: 0, failed: 0, broken: [], skipped: new Map() };
  for (const stage of stages) {
    const [passed, failed] = await runStage(stage, total.skipped);
    total.passed += passed;
    total.failed += failed;
    if (failed > 0) total.broken.push(stage.name);
  }
  return total;
}

/** Runs a stage with its output on the screen; a stage that does not finish counts as a failure. */
async function runStage(
  { name, command, env, count, mayBeEmpty = false }: Stage,
  skipped: Map<string, number>,
): Promise<[passed: number, failed: number]> {
  console.log(`\n== ${name}`);
  const [program, ...args] = command;
  const child = new Deno.Command(program, {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
  }).spawn();
  let output = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    await Deno.stdout.write(new TextEncoder().encode(text));
    output += text;
  }
  const { success } = await child.status;
  for (const [reason, n] of countSkipped(output)) {
    skipped.set(reason, (skipped.get(reason) ?? 0) + n);
  }
  const counts = count === undefined ? [] : [...output.matchAll(count)];
  const passed = counts.reduce((sum, match) => sum + Number(match[1]), 0);
  const failed = counts.reduce((sum, match) => sum + Number(match[2]), 0);
  if (!success) return [passed, Math.max(failed, 1)];
  if (count === undefined) return [1, 0];
  return passed === 0 && !mayBeEmpty ? [0, 1] : [passed, failed];
}

/** Prints each reason for skipping once, then the total, and ends the process by it. */
export function finish({ passed, failed, broken, skipped }: Total, others = ""): never {
  console.log("");
  for (const [reason, n] of skipped) console.log(`Skipped ${n}: ${reason}`);
  if (skipped.has(NO_REASON)) {
    failed++;
    broken.push("a test is skipped without a reason in its name");
  }
  if (failed > 0) console.log(`Failed: ${broken.join(", ")}`);
  const count = [...skipped.values()].reduce((sum, n) => sum + n, 0);
  console.log(`\n${passed} passed, ${failed} failed, ${count} skipped${others}`);
  Deno.exit(failed > 0 ? 1 : 0);
}

/** What a program prints, or undefined if it is not there or fails. */
export async function outputOf(program: string, ...args: string[]): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
