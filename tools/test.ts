/**
 * Runs everything that a change has to pass and counts it: `deno task test`.
 *
 * Builds the kernels, checks formats, lints, types and docs on both sides, and runs the Rust tests,
 * the documentation's examples and the Deno tests. The last line is `N passed, N failed`; the exit
 * code is 1 if anything failed.
 */

import { dirname } from "@std/path/dirname";
import { fromFileUrl } from "@std/path/from-file-url";
import { buildKernels } from "./build.ts";

const root = dirname(dirname(fromFileUrl(import.meta.url)));
const cargo = ["--release", "--locked", "--manifest-path", "kernels/Cargo.toml"];

interface Stage {
  readonly name: string;
  readonly command: readonly string[];
  /** Reads how many tests passed and failed; without it the stage is one test. */
  readonly count?: RegExp;
}

const CARGO_TESTS = /test result: \w+\. (\d+) passed; (\d+) failed/g;
const DENO_TESTS = /\| (\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed/g;

const RUST: readonly Stage[] = [
  { name: "cargo fmt", command: ["cargo", "fmt", "--check", ...cargo.slice(2)] },
  {
    name: "cargo clippy",
    command: ["cargo", "clippy", "--quiet", "--all-targets", ...cargo, "--", "-D", "warnings"],
  },
  { name: "cargo test", command: ["cargo", "test", ...cargo], count: CARGO_TESTS },
];

const deno = Deno.execPath();
const ENTRIES = ["mod.ts", "install.ts", "doctor.ts"];
const DENO: readonly Stage[] = [
  { name: "deno fmt", command: [deno, "fmt", "--check"] },
  { name: "deno lint", command: [deno, "lint"] },
  { name: "deno check", command: [deno, "check", "."] },
  { name: "deno doc", command: [deno, "doc", "--lint", ...ENTRIES] },
  { name: "deno publish", command: [deno, "publish", "--dry-run", "--allow-dirty"] },
  {
    name: "examples in the docs",
    command: [
      ...[deno, "test", "--doc", "--quiet", "--no-prompt", "--allow-read", "--allow-write"],
      ...[...ENTRIES, "src", "README.md"],
    ],
    count: DENO_TESTS,
  },
  {
    name: "deno test",
    command: [
      ...[deno, "test", "--no-check", "--no-prompt"],
      ...["--allow-read", "--allow-write", "--allow-env", "--allow-ffi", "--allow-run"],
      "--allow-net=127.0.0.1",
      "tests",
    ],
    count: DENO_TESTS,
  },
];

/** Runs a stage with its output on the screen; a stage that does not finish counts as a failure. */
async function run({ name, command, count }: Stage): Promise<[passed: number, failed: number]> {
  console.log(`\n== ${name}`);
  const [program, ...args] = command;
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
  const counts = count === undefined ? [] : [...output.matchAll(count)];
  const passed = counts.reduce((sum, match) => sum + Number(match[1]), 0);
  const failed = counts.reduce((sum, match) => sum + Number(match[2]), 0);
  if (!success) return [passed, Math.max(failed, 1)];
  if (count === undefined) return [1, 0];
  return passed === 0 ? [0, 1] : [passed, failed];
}

const hasCargo = await buildKernels();
if (!hasCargo) console.log("The Rust checks and the tests of the cpu backend are skipped.");
let [passed, failed] = [0, 0];
const broken: string[] = [];
for (const stage of [...(hasCargo ? RUST : []), ...DENO]) {
  const result = await run(stage);
  passed += result[0];
  failed += result[1];
  if (result[1] > 0) broken.push(stage.name);
}
if (failed > 0) console.log(`\nFailed: ${broken.join(", ")}`);
console.log(`\n${passed} passed, ${failed} failed`);
Deno.exit(failed > 0 ? 1 : 0);
