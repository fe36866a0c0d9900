/**
 * Measures Descent against torch, TensorFlow.js and a plain loop, in turn, prints tables in Markdown
 * and draws a chart: `deno task bench:peers`.
 *
 * @module
 */

import { fromFileUrl } from "@std/path/from-file-url";
import { readFlags, refuseOnly } from "./flags.ts";
import { drawChart } from "./peers/chart.ts";
import { duel, type Result } from "./peers/duel.ts";
import { listPrograms, type Program } from "./peers/programs.ts";
import { findPython } from "./peers/python.ts";
import { chooseFour, formatAll, formatSummary, formatTfjs } from "./peers/report.ts";
import { writeSection } from "./readme.ts";
import { writeSvg } from "./svg.ts";
import { describeMachine, today } from "./text.ts";
import { type Workload, WORKLOADS } from "./workloads.ts";

const CHART = fromFileUrl(new URL("peers.svg", import.meta.url));
const SMALL_CHART = fromFileUrl(new URL("../docs/speed.svg", import.meta.url));
/** What the README's chart is about. */
const SHOWN = "ResNet-50";
const ROUNDS = 15;

const HELP =
  `Measures Descent against torch, TensorFlow.js on WebAssembly and a plain loop: SGD with
nesterov momentum 0.9 and weight decay 1e-4, float32.

It takes about 5 minutes.

Usage: deno task bench:peers [options]

  --python FILE  a Python that has torch (default: $DESCENT_PYTHON, or python3)
  --only TEXT    only the workloads that have this text in their name
  --rounds N     samples per program and workload (default: ${ROUNDS})
  --readme       put tables and charts into bench/README.md, README.md and docs/speed.svg
  --chart FILE   where the chart goes (default: bench/peers.svg)
  --help         show this text`;

const TORCH_HINT = `
torch comes with:    python3 -m venv .venv && .venv/bin/pip install torch==2.13.0
and is measured by:  deno task bench:peers --python .venv/bin/python
`;

/** What all programs together hold at once: parameters, gradients, buffers, and temporaries. */
const BYTES_PER_ELEMENT = 110;

const flags = readFlags(Deno.args, {
  switches: ["readme"],
  texts: ["python", "only", "chart"],
  numbers: ["rounds"],
  help: HELP,
});
if (!WORKLOADS.some(isWanted)) refuseOnly(flags.only, WORKLOADS.map(({ name }) => name));
const python = await findPython(flags.python, TORCH_HINT);

const workloads = WORKLOADS.filter((workload) => isWanted(workload) && fits(workload));
const { results, versions } = await measureAll(listPrograms(python));
const setting = `${describeMachine()}, ${today()}: ${versions.join(", ")}`;
const tables = [formatSummary(workloads, results), formatAll(workloads, results)];
const report = [setting, ...tables].join("\n\n");
const inTfjs = `${setting}\n\n${formatTfjs(workloads, results)}`;
console.log(`\n${report}\n\n${inTfjs}`);
if (flags.readme) {
  writeSection("tfjs", inTfjs);
  writeSection("peers", report);
  writeSection("speed", `${setting}\n\n${tables[0]}`, "../README.md");
}
const title = "One step of SGD: Nesterov momentum and weight decay, float32";
drawResults(flags.chart ?? CHART, results);
if (flags.readme) drawResults(SMALL_CHART, chooseFour(results, SHOWN));

function drawResults(file: string, shown: readonly Result[]): void {
  if (shown.length > 0) writeSvg(file, drawChart(title, setting, shown));
}

async function measureAll(programs: readonly Program[]) {
  const results: Result[] = [];
  const versions = new Set<string>();
  for (const workload of workloads) {
    console.log(`Measuring ${workload.name} ...`);
    const { results: more, about } = await duel(programs, workload, flags.rounds ?? ROUNDS);
    results.push(...more);
    for (const text of about) if (text !== "") versions.add(text);
  }
  return { results, versions: [...versions] };
}

function isWanted({ name }: Workload): boolean {
  return flags.only === undefined || name.includes(flags.only);
}

function fits({ name, elements }: Workload): boolean {
  const [needed, free] = [elements * BYTES_PER_ELEMENT, Deno.systemMemoryInfo().available];
  if (needed > free) {
    const gigabytes = [needed, free].map((bytes) => (bytes / 1e9).toFixed(0));
    console.log(`Cannot measure ${name}: it needs ${gigabytes[0]} GB, ${gigabytes[1]} GB are free`);
  }
  return needed <= free;
}
