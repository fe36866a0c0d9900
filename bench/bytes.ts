/**
 * Measures what fewer bytes per element gain, next to what is asked for and to torch:
 * `deno task bench:bytes`. Steps in 16-bit formats, with 8-bit momentum and with split master weights
 * are compared with steps in float32 of the same process; sparse rows and the norm with torch's.
 *
 * @module
 */

import { evaluate, formatOutcomes, type Outcome } from "./bytes/report.ts";
import type { BytesRow, Round } from "./bytes/round.ts";
import { listRounds } from "./bytes/rows.ts";
import { readFlags, refuseOnly } from "./flags.ts";
import { probeOthers } from "./load.ts";
import { duel } from "./peers/duel.ts";
import { findPython } from "./peers/python.ts";
import { writeSection } from "./readme.ts";
import { describeLoad, describeMachine, today } from "./text.ts";

const ROUNDS = 15;
const THREADS = 2;

const HELP = `Measures formats with fewer bytes, sparse rows and steps with options.

It takes about 6 minutes.

Usage: deno task bench:bytes [options]

  --python FILE  a Python that has torch (default: $DESCENT_PYTHON, or python3)
  --only TEXT    only the rows that have this text in their name
  --rounds N     samples per program (default: ${ROUNDS})
  --threads N    Descent's and torch's threads, where a row says no other (default: ${THREADS})
  --readme       put the table into bench/README.md
  --help         show this text`;

const flags = readFlags(Deno.args, {
  switches: ["readme"],
  texts: ["python", "only"],
  numbers: ["rounds", "threads"],
  help: HELP,
});
const threads = Math.ceil(flags.threads ?? THREADS);
const wanted = listRounds({ python: null, threads }).flatMap(wantedOf);
if (wanted.length === 0) refuseOnly(flags.only, allNames());
const python = await findPython(flags.python);

const versions = new Set<string>();
const outcomes: Outcome[] = [];
for (const round of listRounds({ python, threads })) outcomes.push(...await measureRound(round));

const setting = `${describeMachine()}, ${today()}, ${threads} threads: ${[...versions].join(", ")}`;
const figures = outcomes.flatMap(({ measured }) => typeof measured === "string" ? [] : [measured]);
const report = [setting, formatOutcomes(outcomes), describeLoad(figures)].join("\n\n");
console.log(`\n${report}`);
if (flags.readme) writeSection("bytes", report);

/** Measures the rows of a round that are wanted; programs of one round only run at a time. */
async function measureRound(round: Round): Promise<Outcome[]> {
  const workload = round.workload.name;
  const rows = wantedOf(round);
  if (rows.length === 0) return [];
  const outcome = (row: BytesRow, measured: Outcome["measured"]) => ({ workload, row, measured });
  const reason = round.obstacle() ?? lackOfMemory(round.bytes);
  if (reason !== null) return rows.map((row) => outcome(row, reason));
  console.log(`Measuring ${workload}: ${rows.map(({ work }) => work).join("; ")} ...`);
  const others = probeOthers();
  try {
    const { results, about } = await duel(round.programs, round.workload, flags.rounds ?? ROUNDS);
    about.filter((text) => text !== "").forEach((text) => versions.add(text));
    return rows.map((row) => outcome(row, evaluate(row, results, others)));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return rows.map((row) => outcome(row, error.message));
  }
}

/** The rows of a round that have the text of --only in their names. */
function wantedOf(round: Round): BytesRow[] {
  return round.rows.filter((row) => nameOf(round, row).includes(flags.only ?? ""));
}

function nameOf({ workload }: Round, { work }: BytesRow): string {
  return `${workload.name}: ${work}`;
}

function allNames(): string[] {
  return listRounds({ python: null, threads })
    .flatMap((round) => round.rows.map((row) => nameOf(round, row)));
}

function lackOfMemory(bytes: number): string | null {
  const free = Deno.systemMemoryInfo().available;
  if (bytes < 0.9 * free) return null;
  const [needed, left] = [bytes, free].map((size) => (size / 1e9).toFixed(1));
  return `it needs ${needed} GB of memory, and ${left} GB are free`;
}
