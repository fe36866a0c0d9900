/** Past commits: which there are, and measuring each with its own benchmark. */

import { join } from "@std/path/join";
import { probeOthers } from "../load.ts";
import type { Commit, RunFigure } from "./entries.ts";

/** Why a commit has no figures. */
export class Unmeasurable extends Error {}

/** What can change the speed of a step. */
const SOURCES = ["src", "kernels", "mod.ts", "deno.json", "deno.lock"];

/** What must not differ from the commit that a run is recorded for. */
const MEASURED = [...SOURCES, "bench/*.ts", "bench/**/*.ts"];

const FORMAT = "--format=%H%x09%cI%x09%s";

/** The commit that is checked out. */
export function readHead(root: string): Commit {
  return parseCommits(git(root, "log", "-1", FORMAT))[0];
}

/** The files of the checkout that differ from its commit and would be measured. */
export function listChanges(root: string): string[] {
  const status = git(root, "status", "--porcelain", "--", ...MEASURED);
  return status.split("\n").filter((line) => line !== "").map((line) => line.slice(3));
}

/** Whether a revision names a commit of the repository. */
export function hasCommit(root: string, revision: string): boolean {
  const args = ["rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`];
  return new Deno.Command("git", { args, cwd: root, stderr: "null" }).outputSync().success;
}

/**
 * The commit `since` and those after it on the way to the one that is checked out, the oldest first:
 * of a merge the merge itself, and only commits that can have changed the speed.
 */
export function listCommits(root: string, since: string): Commit[] {
  const log = (...args: string[]) =>
    parseCommits(git(root, "log", "--first-parent", "--reverse", FORMAT, ...args));
  const first = log("-1", since, "--");
  return [...first, ...log(`${since}..HEAD`, "--", ...SOURCES)];
}

/** Copies the repository into a folder; commits are checked out there. Its working tree is not copied. */
export function cloneInto(root: string, folder: string): void {
  git(root, "clone", "--quiet", "--shared", "--no-checkout", root, folder);
}

/**
 * Checks out a commit and builds its library. What an earlier commit has built stays, so that only
 * what differs is compiled.
 *
 * @throws {Unmeasurable} If it does not build.
 */
export function prepare(folder: string, commit: string): void {
  git(folder, "checkout", "--quiet", "--force", "--detach", commit);
  if (!run(folder, ["task", "-q", "build"])) throw new Unmeasurable("it does not build");
}

/**
 * Measures the rows once with the benchmark of the tree.
 *
 * @param only The text that the rows have in their names.
 * @throws {Unmeasurable} If the tree has no such benchmark, or it fails.
 */
export function measureTree(tree: string, only: string): RunFigure[] {
  const script = join(tree, "bench", "compare.ts");
  if (!exists(script)) throw new Unmeasurable("it has no bench/compare.ts");
  const folder = Deno.makeTempDirSync();
  try {
    const [out, none] = [join(folder, "bench.json"), join(folder, "none.json")];
    // Compared with no figures at all, each row is new and is measured once.
    Deno.writeTextFileSync(none, JSON.stringify({ machine: "", figures: [] }));
    const args = ["--out", out, "--baseline", none, ...(only === "" ? [] : ["--only", only])];
    const before = probeOthers();
    const succeeded = run(tree, ["run", "-q", "--no-check", "-A", script, ...args]);
    if (!succeeded || !exists(out)) throw new Unmeasurable("its bench/compare.ts failed");
    // Early benchmarks do not say whether they were disturbed.
    const othersCores = Math.max(before, probeOthers());
    return readFigures(out).map((figure) => ({ othersCores, ...figure }));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function readFigures(file: string): RunFigure[] {
  const { figures } = JSON.parse(Deno.readTextFileSync(file));
  const isFigure = ({ row, reference, ratio }: RunFigure) =>
    typeof row === "string" && typeof reference === "string" && ratio > 0;
  if (!Array.isArray(figures) || figures.length === 0 || !figures.every(isFigure)) {
    throw new Unmeasurable("its bench/compare.ts writes no rows with a reference and a ratio");
  }
  return figures;
}

function parseCommits(log: string): Commit[] {
  return log.split("\n").filter((line) => line !== "").map((line) => {
    const [commit, date, ...subject] = line.split("\t");
    return { commit, date, subject: subject.join("\t") };
  });
}

/** Runs Deno in a tree with its output on the screen, and says whether it succeeded. */
function run(cwd: string, args: readonly string[]): boolean {
  return new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).outputSync().success;
}

function git(cwd: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command("git", { args, cwd }).outputSync();
  const text = new TextDecoder();
  if (!success) throw new Error(`Cannot run git ${args[0]}: ${text.decode(stderr).trim()}`);
  return text.decode(stdout);
}

function exists(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
