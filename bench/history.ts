/**
 * Measures the commit that is checked out, or past ones, appends the figures to the history and draws
 * it: `deno task bench:history`.
 *
 * @module
 */

import { fromFileUrl } from "@std/path/from-file-url";
import { readFlags, refuse } from "./flags.ts";
import { drawHistory } from "./history/chart.ts";
import { findSteps, seriesOf } from "./history/changes.ts";
import { cloneInto, hasCommit, listChanges, listCommits } from "./history/checkout.ts";
import { measureTree, prepare, readHead, Unmeasurable } from "./history/checkout.ts";
import { combineRuns, type Commit, commitsOf, type Entry } from "./history/entries.ts";
import { formatEntry, isMeasured, parseHistory, processorsOf } from "./history/entries.ts";
import { describeSteps } from "./history/report.ts";
import { writeSvg } from "./svg.ts";
import { describeMachine, today } from "./text.ts";

const HERE = fromFileUrl(new URL("..", import.meta.url));
const HISTORY = fromFileUrl(new URL("history.jsonl", import.meta.url));
const CHART = fromFileUrl(new URL("history.svg", import.meta.url));
const RUNS = 3;

const HELP = `Measures the commit that is checked out, appends its ratios to bench/history.jsonl and
draws the history as bench/history.svg. What the history has already is not measured again.

Usage: deno task bench:history [options]

  --since REV       measure this commit and those after it that changed the code, each with its own
                    bench, and skip what cannot be measured; minutes per commit
  --every N         measure only every Nth of them, and the last
  --only TEXT       only the rows that have this text in their name
  --runs N          how often each commit is measured (default: ${RUNS})
  --draw            measure nothing, draw only
  --processor TEXT  draw what was measured on this processor (default: this machine's)
  --root FOLDER     the repository whose commits are measured (default: this one)
  --history FILE    the history (default: bench/history.jsonl)
  --chart FILE      where the chart goes (default: bench/history.svg)
  --help            show this text`;

const flags = readFlags(Deno.args, {
  switches: ["draw"],
  texts: ["since", "only", "processor", "root", "history", "chart"],
  numbers: ["every", "runs"],
  help: HELP,
});
const file: string = flags.history ?? HISTORY;
const root: string = flags.root ?? HERE;
const only: string = flags.only ?? "";
const runs = Math.ceil(flags.runs ?? RUNS);
const machine = describeMachine();

if (!flags.draw) flags.since === undefined ? measureHead() : measurePast(flags.since);
drawAll(flags.processor ?? machine);

/** The commit that is checked out is measured where it lies. */
function measureHead(): void {
  const head = readHead(root);
  const changes = listChanges(root);
  if (changes.length > 0) {
    const list = changes.join(", ");
    refuse(`Cannot record a run for ${shorten(head)} as these files differ from it: ${list}`);
  }
  if (!skipsMeasured(head)) record(head, root);
}

/** Past commits are checked out one after the other into a copy of the repository. */
function measurePast(since: string): void {
  if (!hasCommit(root, since)) {
    refuse(`Cannot measure since ${since} as the repository has no such commit`);
  }
  const commits = thin(listCommits(root, since), Math.ceil(flags.every ?? 1));
  const wanted = commits.filter((commit) => !skipsMeasured(commit));
  if (wanted.length === 0) return;
  const folder = Deno.makeTempDirSync({ prefix: "descent-history-" });
  try {
    cloneInto(root, folder);
    for (const [i, commit] of wanted.entries()) {
      console.log(`\n${i + 1} of ${wanted.length}: ${shorten(commit)} ${commit.subject}`);
      measureCommit(commit, folder);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function measureCommit(commit: Commit, folder: string): void {
  try {
    prepare(folder, commit.commit);
    record(commit, folder);
  } catch (error) {
    if (!(error instanceof Unmeasurable)) throw error;
    console.log(`Skipped ${shorten(commit)} as ${error.message}`);
  }
}

function skipsMeasured(commit: Commit): boolean {
  const found = isMeasured(readHistory(), { commit: commit.commit, processor: machine, only });
  if (found) console.log(`The history has ${shorten(commit)} on this processor already`);
  return found;
}

/** Appends each commit when it is complete: what interrupts the next one costs that one only. */
function record(commit: Commit, tree: string): void {
  const rows = combineRuns(Array.from({ length: runs }, () => measureTree(tree, only)));
  const setting = { processor: machine, deno: Deno.version.deno, measured: today(), runs, only };
  Deno.writeTextFileSync(file, formatEntry({ ...commit, ...setting, rows }), { append: true });
  const busy = Object.values(rows).filter(({ busy }) => busy).length;
  if (busy > 0) console.log(`The machine was too busy for ${busy} rows: steps ignore them`);
}

function drawAll(processor: string): void {
  const history = readHistory();
  const entries = commitsOf(history, processor);
  const series = seriesOf(entries);
  if (series.length === 0) {
    const known = processorsOf(history).map((name) => `"${name}"`).join(", ") || "none";
    const message = `The history has nothing of "${processor}"; its processors: ${known}`;
    if (flags.processor !== undefined) refuse(message);
    return console.log(message);
  }
  console.log(`\n${describeSteps(series.flatMap(findSteps))}`);
  writeSvg(flags.chart ?? CHART, drawHistory(processor, entries));
}

function readHistory(): Entry[] {
  try {
    return parseHistory(Deno.readTextFileSync(file));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function thin(commits: readonly Commit[], every: number): Commit[] {
  return commits.filter((_, i) => i % every === 0 || i === commits.length - 1);
}

function shorten({ commit }: Commit): string {
  return commit.slice(0, 7);
}
