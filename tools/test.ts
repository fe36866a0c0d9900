/**
 * Runs everything that a change has to pass and counts it: `deno task test`.
 *
 * Builds the kernels, checks formats, lints, types, layers and docs on both sides, and runs the Rust
 * tests, the documentation's examples and the Deno tests. Each reason for skipping tests is printed
 * once, with their number. The last line is `N passed, N failed, N skipped`; the exit code is 1 if
 * anything failed. A part alone: `tools/test.ts rust`, `docs`, or `ts` with files of tests.
 */

import { dirname } from "@std/path/dirname";
import { fromFileUrl } from "@std/path/from-file-url";
import { buildKernels } from "./build.ts";
import { countSkipped, NO_REASON } from "./skipped.ts";
import { stagesOf } from "./stages.ts";
import type { Part, Stage } from "./stages.ts";

const root = dirname(dirname(fromFileUrl(import.meta.url)));

interface Result {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: ReadonlyMap<string, number>;
}

/** Runs a stage with its output on the screen; a stage that does not finish counts as a failure. */
async function run({ name, command: [program, ...args], count }: Stage): Promise<Result> {
  console.log(`\n== ${name}`);
  const child = new Deno.Command(program, {
    args,
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
  }).spawn();
  let output = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    await Deno.stdout.write(new TextEncoder().encode(text));
    output += text;
  }
  const { success } = await child.status;
  return judge(output, success, count);
}

function judge(output: string, success: boolean, count: RegExp | undefined): Result {
  const skipped = countSkipped(output);
  if (count === undefined) return { passed: Number(success), failed: Number(!success), skipped };
  const counts = [...output.matchAll(count)];
  const passed = counts.reduce((sum, match) => sum + Number(match[1]), 0);
  let failed = counts.reduce((sum, match) => sum + Number(match[2]), 0);
  if (!success || passed === 0) failed = Math.max(failed, 1);
  return { passed, failed, skipped };
}

const [part, ...files] = Deno.args as [Part?, ...string[]];
const hasCargo = await buildKernels();
if (!hasCargo) console.log("The Rust checks and the tests of the cpu backend are skipped.");
const all: readonly Part[] = hasCargo ? ["rust", "check", "docs", "ts"] : ["check", "docs", "ts"];
const stages = part === undefined ? all.flatMap((one) => stagesOf(one)) : stagesOf(part, files);

let [passed, failed] = [0, 0];
const broken: string[] = [];
const skipped = new Map<string, number>();
for (const stage of stages) {
  const result = await run(stage);
  passed += result.passed;
  failed += result.failed;
  if (result.failed > 0) broken.push(stage.name);
  for (const [why, n] of result.skipped) skipped.set(why, (skipped.get(why) ?? 0) + n);
}
console.log("");
for (const [why, n] of skipped) console.log(`Skipped ${n}: ${why}`);
if (skipped.has(NO_REASON)) {
  failed++;
  broken.push("a test is skipped without a reason in its name");
}
if (failed > 0) console.log(`Failed: ${broken.join(", ")}`);
const total = [...skipped.values()].reduce((sum, n) => sum + n, 0);
console.log(`\n${passed} passed, ${failed} failed, ${total} skipped`);
Deno.exit(failed > 0 ? 1 : 0);
