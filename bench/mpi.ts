/**
 * Measures steps that two ranks take together, in turn with torch's: `deno task bench:mpi`.
 *
 * torch reduces the gradients with gloo, divides them and takes its fused step. Each rank has one
 * thread.
 *
 * @module
 */

import { readFlags } from "./flags.ts";
import { type Job, RANKS, startAlone, startEngines, startTorch } from "./mpi/jobs.ts";
import { findPython } from "./peers/python.ts";
import { writeSection } from "./readme.ts";
import {
  describeMachine,
  formatNumber,
  formatTable,
  formatTime,
  TIME_OF_A_STEP,
  today,
} from "./text.ts";

const HELP = `Measures steps that two ranks take together, next to torch's with gloo.

It takes about 2 minutes, and 6 GB of memory. Open MPI and MPICH are measured where they are installed.

Usage: deno task bench:mpi [options]

  --python FILE  a Python that has torch (default: $DESCENT_PYTHON, or python3)
  --length N     elements of the tensor, of float32 (default: 25,000,000)
  --rounds N     samples of each row (default: 9)
  --readme       put the table into bench/README.md
  --help         show this text`;

/** Of these a step or call is too short to be compared with torch's. */
const TINY: readonly string[] = ["one element", "barrier"];

const flags = readFlags(Deno.args, {
  switches: ["readme"],
  texts: ["python"],
  numbers: ["length", "rounds"],
  help: HELP,
});
const length: number = flags.length ?? 25_000_000;

const python = await findPython(flags.python);
const torch = python === null ? [] : [await startTorch(python, length)];
const jobs = [...torch, ...await startEngines(length), await startAlone(length)];
const samples = await measure(jobs, flags.rounds ?? 9);
const text = [
  `${today()}, ${describeMachine()}; ${RANKS} ranks of a thread, ${length.toLocaleString("en")} ` +
  `elements of float32; ${jobs.map(({ ready }) => ready.about).join(", ")}`,
  "",
  formatTable(
    ["row", TIME_OF_A_STEP, "the least", "times as fast as torch (more is better)"],
    [...samples].map(([row, times]) => describeRow(row, times)),
  ),
].join("\n");
console.log(text);
if (flags.readme) await writeSection("mpi", text);

/** Samples of all runs of all jobs in turn, by row. */
async function measure(jobs: readonly Job[], rounds: number): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    for (const job of jobs) {
      for (const run of job.ready.runs) {
        const row = `${job.name}: ${run}`;
        samples.set(row, [...samples.get(row) ?? [], await job.sample(run)]);
      }
    }
  }
  for (const job of jobs) await job.close();
  return samples;
}

function describeRow(row: string, times: readonly number[]): string[] {
  const yardstick = samples.get("torch: gloo");
  const isCompared = yardstick !== undefined && !row.startsWith("torch") &&
    !row.startsWith("one rank") && !TINY.some((name) => row.endsWith(name));
  const ratio = isCompared ? formatNumber(median(yardstick) / median(times)) : "";
  return [row, formatTime(median(times)), formatTime(Math.min(...times)), ratio];
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
