/**
 * Measures steps of mixed precision against torch's, in turn: `deno task bench:mixed`.
 *
 * Gradients are unscaled, checked, clipped by their norm, used and zeroed: by Descent in two passes
 * over memory, by torch in `unscale_`, `clip_grad_norm_`, `step` and `zero_grad`. What plain
 * asynchronous steps of tiny tensors cost is measured after that.
 *
 * @module
 */

import { readFlags } from "./flags.ts";
import { duel, ratioOf, type Result } from "./peers/duel.ts";
import { denoProgram, descentOn, type Program, THREADS, torchPrograms } from "./peers/programs.ts";
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
import { findWorkload } from "./workloads.ts";

const HELP = `Measures steps that unscale, check, clip and zero gradients, next to torch's.

It takes about 2 minutes.

Usage: deno task bench:mixed [options]

  --python FILE  a Python that has torch (default: $DESCENT_PYTHON, or python3)
  --rounds N     samples per program (default: 15)
  --readme       put the table into bench/README.md
  --help         show this text`;

const NAMES = ["MLP 784-256-128-10", "ResNet-50"];
/** The plain steps of these are measured: arithmetic takes almost none of their time. */
const TINY = ["2 x 10", "161 x 10"];

const flags = readFlags(Deno.args, {
  switches: ["readme"],
  texts: ["python"],
  numbers: ["rounds"],
  help: HELP,
});
const python = await findPython(flags.python);

const SCRIPT = "mixed/descent.ts";
const programs: Program[] = [
  ...THREADS.map((threads) => denoProgram(descentOn(threads), threads, SCRIPT, "cpu")),
  denoProgram("Descent, js", 1, SCRIPT, "js"),
  ...THREADS.flatMap((threads) => torchPrograms(python, threads, "mixed/torch_mixed.py")),
];

const tinyPrograms = THREADS.map((threads) =>
  denoProgram(`${descentOn(threads)}, plain`, threads, "mixed/async_steps.ts")
);

const tables: string[] = [];
const versions = new Set<string>();
await measure(NAMES, programs, descentOn(THREADS.at(-1)!));
await measure(TINY, tinyPrograms, tinyPrograms.at(-1)!.name);
const setting = `${describeMachine()}, ${today()}: ${[...versions].join(", ")}`;
const report = [setting, ...tables].join("\n\n");
console.log(`\n${report}`);
if (flags.readme) writeSection("mixed", report);

/** Adds a table for each workload. */
async function measure(names: readonly string[], programs: readonly Program[], own: string) {
  for (const workload of names.map(findWorkload)) {
    console.log(`Measuring ${workload.name} ...`);
    const { results, about } = await duel(programs, workload, flags.rounds ?? 15);
    about.filter((text) => text !== "").forEach((text) => versions.add(text));
    tables.push(formatResults(workload.name, results, own));
  }
}

/** Times, and how often those of one contender fit into each. */
function formatResults(name: string, results: readonly Result[], reference: string): string {
  const own = results.find(({ contender }) => contender === reference)!;
  const rows = results.map((result) => [
    result.contender,
    formatTime(result.ns),
    formatNumber(ratioOf(result, own)),
  ]);
  return formatTable([name, TIME_OF_A_STEP, "/ Descent (less is better)"], rows);
}
