/**
 * Measures sparse steps against torch's, in turn: `deno task bench:sparse`.
 *
 * A matrix of 50,000 x 256 in float32 gets the gradient of 4,096 of its rows, as from a batch of
 * token embeddings: without momentum, where the cost is that of the rows touched, and with it.
 *
 * @module
 */

import { readFlags } from "./flags.ts";
import { duel } from "./peers/duel.ts";
import { denoProgram, descentOn, type Program, THREADS, torchPrograms } from "./peers/programs.ts";
import { findPython } from "./peers/python.ts";
import { describeMachine, formatTable, formatTime, TIME_OF_A_STEP, today } from "./text.ts";
import { createWorkload } from "./workloads.ts";

const HELP = `Measures a step that touches 4,096 rows of 50,000 x 256, next to torch's.

It takes about a minute.

Usage: deno task bench:sparse [options]

  --python FILE  a Python that has torch (default: $DESCENT_PYTHON, or python3)
  --rounds N     samples per program (default: 15)
  --help         show this text`;

const flags = readFlags(Deno.args, { texts: ["python"], numbers: ["rounds"], help: HELP });
const python = await findPython(flags.python);

const SCRIPT = "sparse/descent.ts";
const programs: Program[] = [
  ...THREADS.map((threads) => denoProgram(descentOn(threads), threads, SCRIPT, "cpu")),
  denoProgram("Descent, js", 1, SCRIPT, "js"),
  ...THREADS
    .flatMap((threads) => torchPrograms(python, threads, "sparse/torch_sparse.py"))
    .map((program) => ({ ...program, input: undefined })), // it knows the matrix
];

const workload = createWorkload("4,096 rows of 50,000 x 256", [[50_000, 256]]);
const { results, about } = await duel(programs, workload, flags.rounds ?? 15);
const versions = [...new Set(about)].filter((text) => text !== "").join(", ");
console.log(`\n${describeMachine()}, ${today()}: ${versions}\n`);
console.log(formatTable(
  [workload.name, TIME_OF_A_STEP],
  results.map(({ contender, ns }) => [contender, formatTime(ns)]),
));
