/** What a change has to pass, as commands: checks without a build, and the tests of each part. */

import { CARGO_TESTS, DENO_TESTS } from "./stage.ts";
import type { Stage } from "./stage.ts";

/** The parts of `deno task test`, which `test:<part>` runs alone. */
export type Part = "check" | "rust" | "docs" | "ts";

const CARGO = ["--release", "--locked", "--manifest-path", "kernels/Cargo.toml"];

const deno = Deno.execPath();
const CSPELL = "npm:cspell@9.7.0";
const SPELLED = [
  "*.{md,ts}",
  "{docs,src,kernels,tests,bench,examples,tools,.github}/**/*.{ts,rs,md,wgsl,yml}",
];

/** The entries of the package, from `deno.json`. */
const { exports } = JSON.parse(
  Deno.readTextFileSync(new URL("../deno.json", import.meta.url)),
) as { exports: Record<string, string> };
const ENTRIES = Object.values(exports).map((path) => path.replace("./", ""));

/** What `deno task check` runs. */
export const CHECKS: readonly Stage[] = [
  { name: "deno fmt", command: [deno, "fmt", "--check"] },
  { name: "deno lint", command: [deno, "lint"] },
  { name: "deno check", command: [deno, "check", "."] },
  {
    name: "layers",
    command: [deno, "run", "-q", "--allow-read", "--allow-run", "tools/check_layers.ts"],
  },
  {
    name: "conflict markers",
    command: [deno, "run", "-q", "--allow-read", "--allow-run=git", "tools/check_markers.ts"],
  },
  {
    name: "spelling",
    command: [
      ...[deno, "run", "-q", "--no-lock", "-A", CSPELL, "lint", "--no-progress", "--no-summary"],
      ...["--quiet", "--dot", "--config", "tools/spelling/cspell.json", ...SPELLED],
    ],
  },
];

const RUST: readonly Stage[] = [
  { name: "cargo fmt", command: ["cargo", "fmt", "--check", ...CARGO.slice(2)] },
  {
    name: "cargo clippy",
    command: ["cargo", "clippy", "--quiet", "--all-targets", ...CARGO, "--", "-D", "warnings"],
  },
  { name: "cargo test", command: ["cargo", "test", ...CARGO], count: CARGO_TESTS },
];

const DOCS: readonly Stage[] = [
  { name: "deno doc", command: [deno, "doc", "--lint", ...ENTRIES] },
  { name: "deno publish", command: [deno, "publish", "--dry-run", "--allow-dirty"] },
  {
    name: "examples in the docs",
    command: [
      ...[deno, "test", "--doc", "--quiet", "--no-prompt", "--allow-read", "--allow-write"],
      ...[...ENTRIES, "src", "README.md", "docs"],
    ],
    count: DENO_TESTS,
  },
];

function denoTests(files: readonly string[]): Stage {
  return {
    name: "deno test",
    command: [
      ...[deno, "test", "--no-check", "--no-prompt"],
      ...["--allow-read", "--allow-write", "--allow-env", "--allow-ffi", "--allow-run"],
      "--allow-net=127.0.0.1",
      ...(files.length > 0 ? files : ["tests"]),
    ],
    count: DENO_TESTS,
  };
}

/**
 * The stages of a part.
 *
 * @param files The test files of the part "ts"; all of them if there are none.
 */
export function stagesOf(part: Part, files: readonly string[] = []): readonly Stage[] {
  switch (part) {
    case "check":
      return CHECKS;
    case "rust":
      return RUST;
    case "docs":
      return DOCS;
    case "ts":
      return [denoTests(files)];
  }
}
