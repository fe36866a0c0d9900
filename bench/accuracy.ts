/**
 * Trains the digits network with compressed momentum and weights, Descent's and others', and says how
 * far each is from float32: `deno task bench:accuracy`.
 *
 * @module
 */

import { fromFileUrl } from "@std/path/from-file-url";
import { SGD } from "@descent/sgd";
import { drawStudy } from "./accuracy/chart.ts";
import { formatStudy } from "./accuracy/report.ts";
import { runStudy, type Size } from "./accuracy/study.ts";
import { readFlags } from "./flags.ts";
import { writeSection } from "./readme.ts";
import { describeMachine, today } from "./text.ts";

const CHART = fromFileUrl(new URL("../docs/accuracy.svg", import.meta.url));
const FULL: Size = { seeds: 10, epochs: 30, fade: 20_000 };
const QUICK: Size = { seeds: 1, epochs: 1, fade: 200 };

const HELP = `Trains the digits network with each way of storing momentum and weights, and compares
momentum and losses with float32's.

Usage: deno task bench:accuracy [options]

  --quick       ${QUICK.seeds} seed and ${QUICK.epochs} epoch instead of ${FULL.seeds} and ${FULL.epochs}
  --docs        put the tables into docs/accuracy.md, and the curves into docs/accuracy.svg
  --chart FILE  where else the curves go
  --help        show this text`;

const flags = readFlags(Deno.args, { switches: ["quick", "docs"], texts: ["chart"], help: HELP });
const size = flags.quick ? QUICK : FULL;
const outcomes = await runStudy(size, (line) => console.error(line));
const { backend } = new SGD([{ data: new Float32Array(1), grad: null }], { lr: 0 });
const setting =
  `${describeMachine()}, ${today()}: Deno ${Deno.version.deno}, backend ${backend}, ` +
  `${size.seeds} seeds, ${size.epochs} epochs`;
const report = `${setting}\n\n${formatStudy(outcomes)}`;
console.log(report);
if (flags.docs) writeSection("accuracy", report, "../docs/accuracy.md");
const chart: string | undefined = flags.chart ?? (flags.docs ? CHART : undefined);
if (chart !== undefined) {
  const title = "The digits network with compressed momentum and weights: medians";
  Deno.writeTextFileSync(chart, drawStudy(title, setting, outcomes));
  new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", chart] }).outputSync();
  console.log(`\nChart: ${chart}`);
}
