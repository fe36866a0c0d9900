/**
 * Measures steps that two ranks take together, in turn with torch's: `deno task bench:mpi`.
 *
 * torch reduces the gradients with gloo, divides them and takes its fused step. Each rank has one
 * thread.
 *
 * @module
 */

import { readFlags, refuse } from "./flags.ts";
import type { Pair } from "./mpi/alone.ts";
import {
  type Engine,
  ENGINES,
  isInstalled,
  type Job,
  RANKS,
  runOnce,
  startEngine,
  startTorch,
} from "./mpi/jobs.ts";
import { type Machines, openMachines, whyNoMachines } from "./mpi/machines.ts";
import type { Memory } from "./mpi/memory.ts";
import { takeSamples } from "./mpi/samples.ts";
import { formatMemory, formatPairs, formatSamples } from "./mpi/tables.ts";
import { findPython } from "./peers/python.ts";
import { writeSection } from "./readme.ts";
import { describeMachine, today } from "./text.ts";

const HELP = `Measures steps that two ranks take together, next to torch's with gloo.

It takes about 2 minutes, with --link 1000 about 3, and 6 GB of memory. Open MPI and MPICH are
measured where they are installed.

Usage: deno task bench:mpi [options]

  --link MBIT    put the ranks on two machines, which are network namespaces, with a cable of so
                 many Mbit/s between them; takes root on Linux, and iproute2
  --python FILE  a Python that has torch (default: $DESCENT_PYTHON, or python3)
  --length N     elements of the tensor, of float32 (default: 25,000,000)
  --rounds N     samples of each row (default: 9, or 5 with --link)
  --readme       put the tables into bench/README.md
  --help         show this text`;

const flags = readFlags(Deno.args, {
  switches: ["readme"],
  texts: ["python"],
  numbers: ["length", "link", "rounds"],
  help: HELP,
});
const length: number = flags.length ?? 25_000_000;

const reason = flags.link === undefined ? null : whyNoMachines();
if (reason !== null) {
  refuse(`Cannot set --link as this process cannot have two machines: ${reason}`);
}
const python = await findPython(flags.python);
const engines = (Object.keys(ENGINES) as Engine[]).filter(isInstalled);
const text = flags.link === undefined ? await measureHere() : await measureLink(flags.link);
console.log(text);
if (flags.readme) await writeSection(flags.link === undefined ? "mpi" : "mpi over a link", text);

/** Both ranks on this machine, one rank alone, and what they add to its memory. */
async function measureHere(): Promise<string> {
  const pairs = await runOnce<Pair[]>(null, "alone.ts", length);
  const memories: Memory[] = [];
  if (Deno.build.os === "linux") {
    for (const engine of engines) memories.push(await runOnce(engine, "memory.ts", length));
  }
  const jobs = await startJobs(null);
  const samples = await takeSamples(jobs, flags.rounds ?? 9);
  const parts = [describe(jobs), formatSamples(samples), formatPairs(pairs)];
  if (memories.length > 0) parts.push(formatMemory(memories, length, RANKS));
  return parts.join("\n\n");
}

/** The ranks on two machines. */
async function measureLink(megabits: number): Promise<string> {
  using machines = openMachines(megabits);
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.addSignalListener(signal, () => {
      machines[Symbol.dispose]();
      Deno.exit(code);
    });
  }
  const jobs = await startJobs(machines);
  const least = length / 4;
  const samples = await takeSamples(jobs, flags.rounds ?? 5, { ...machines, least });
  return [describe(jobs, megabits), formatSamples(samples)].join("\n\n");
}

async function startJobs(machines: Machines | null): Promise<Job[]> {
  const jobs = python === null ? [] : [await startTorch(python, machines, length)];
  for (const engine of engines) jobs.push(await startEngine(engine, machines, length));
  return jobs;
}

/** What was measured, in two paragraphs, each of which fits into a line. */
function describe(jobs: readonly Job[], megabits?: number): string {
  const link = megabits === undefined ? "" : `; ${megabits.toLocaleString("en")} Mbit/s`;
  const engines = jobs.map(({ ready }) => ready.about).join(", ");
  return `${today()}, ${describeMachine()}${link}\n\n` +
    `${RANKS} ranks of a thread, ${length.toLocaleString("en")} float32; ${engines}`;
}
