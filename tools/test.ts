/**
 * Runs everything that a change has to pass and counts it: `deno task test`.
 *
 * Builds the kernels, checks formats, lints, types and docs on both sides, and runs the Rust tests,
 * the documentation's examples and the Deno tests. The last line is `N passed, N failed`; the exit
 * code is 1 if anything failed.
 */

import { buildKernels } from "./build.ts";
import { CARGO_TESTS, DENO_TESTS, finish, runStages } from "./stage.ts";
import type { Stage } from "./stage.ts";

const cargo = ["--release", "--locked", "--manifest-path", "kernels/Cargo.toml"];

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

const hasCargo = await buildKernels();
if (!hasCargo) console.log("The Rust checks and the tests of the cpu backend are skipped.");
finish(await runStages([...(hasCargo ? RUST : []), ...DENO]));
