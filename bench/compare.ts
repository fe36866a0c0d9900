/**
 * Measures all rows, writes the figures and compares them with the saved ones:
 * `deno task bench:compare`. Exits with 1 if a row got worse or is missing.
 *
 * @module
 */

import { dirname } from "@std/path/dirname";
import { fromFileUrl } from "@std/path/from-file-url";
import { compare, describe, formatComparison, passes } from "./comparison.ts";
import { readFlags, refuseOnly } from "./flags.ts";
import { type Figure, obstacle } from "./measure.ts";
import { library } from "./references.ts";
import { measureInProcess } from "./row_runner.ts";
import { allRows, nameOf, type Row } from "./rows.ts";
import { median } from "./sampler.ts";
import { describeLoad, describeMachine, today } from "./text.ts";

const TOLERANCE = 0.25;
const OUT = "out/bench.json";
const BASELINE = fromFileUrl(new URL("baseline.json", import.meta.url));

const HELP =
  `Measures all rows and compares each one's time, as a multiple of the roofline's or of a
scalar loop's in the same run, with the saved baseline.

It takes about 3 minutes.

Usage: deno task bench:compare [options]

  --save             make these figures the baseline
  --tolerance SHARE  by how much a row may get worse (default: ${TOLERANCE}, which is 25 %)
  --only TEXT        only the rows that have this text in their name
  --out FILE         where the figures go (default: ${OUT})
  --baseline FILE    what they are compared with (default: bench/baseline.json)
  --summary FILE     append the comparison to this file, as a table in Markdown
  --slow-down N      take N steps where one is timed, to see that it is noticed
  --help             show this text`;

/** How often a row of a baseline is measured: the figure in the middle is kept. */
const SAVE_ATTEMPTS = 3;

/** How often a row is measured while it seems worse: noise passes, a regression stays. */
const COMPARE_ATTEMPTS = 5;

/** What is written: the figures, and where they come from. */
interface Report {
  readonly machine: string;
  readonly deno: string;
  readonly native: unknown;
  readonly date: string;
  readonly figures: readonly Figure[];
}

const flags = readFlags(Deno.args, {
  switches: ["save"],
  texts: ["only", "out", "baseline", "summary"],
  numbers: ["tolerance", "slow-down"],
  help: HELP,
});
const tolerance: number = flags.tolerance ?? TOLERANCE;
const baselineFile: string = flags.baseline ?? BASELINE;
const saved = flags.save ? undefined : readBaseline();

const rows = allRows().filter(isWanted);
if (rows.length === 0) refuseOnly(flags.only, allRows().map(nameOf));
if (flags.save && flags.only !== undefined && flags.baseline === undefined) {
  refuse("--save with --only would leave rows out of the baseline: name another with --baseline");
}

const report = createReport(rows.flatMap(measureRow));
write(flags.out ?? OUT, report);
if (saved === undefined) write(baselineFile, report);
else conclude(saved);

function refuse(reason: string): never {
  console.error(`Cannot compare as ${reason}`);
  Deno.exit(2);
}

function isWanted(row: Row): boolean {
  return flags.only === undefined || nameOf(row).includes(flags.only);
}

function readBaseline(): readonly Figure[] {
  try {
    const { machine, figures }: Report = JSON.parse(Deno.readTextFileSync(baselineFile));
    if (machine !== describeMachine()) {
      console.log(`The baseline is from another machine: ${machine}`);
    }
    return figures.filter(({ row }) => flags.only === undefined || row.includes(flags.only));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    refuse(`there is no ${baselineFile}: make one with --save`);
  }
}

function measureRow(row: Row): Figure[] {
  const reason = obstacle(row);
  if (reason !== null) {
    console.log(`Cannot measure ${nameOf(row)}: ${reason}`);
    return [];
  }
  const tries = [measureInProcess(row, { times: flags["slow-down"] })];
  const attempts = saved === undefined ? SAVE_ATTEMPTS : COMPARE_ATTEMPTS;
  while (tries.length < attempts && (saved === undefined || tries.every(seemsWorse))) {
    tries.push(measureInProcess(row, { times: flags["slow-down"] }));
  }
  const ratios = tries.map(({ ratio }) => ratio);
  const ratio = saved === undefined ? median(ratios) : Math.min(...ratios);
  const figure = tries.find((figure) => figure.ratio === ratio)!;
  console.log(`${figure.row}: ${ratio.toPrecision(3)} x ${figure.reference}`);
  return [figure];
}

function seemsWorse(figure: Figure): boolean {
  return saved !== undefined && compare(saved, [figure], tolerance).worse.length > 0;
}

function createReport(figures: readonly Figure[]): Report {
  return {
    machine: describeMachine(),
    deno: Deno.version.deno,
    native: "reason" in library ? null : library.info,
    date: today(),
    figures,
  };
}

function write(file: string, report: Report): void {
  Deno.mkdirSync(dirname(file), { recursive: true });
  Deno.writeTextFileSync(file, JSON.stringify(report, toFourDigits, 2) + "\n");
  console.log(`Figures: ${file}`);
}

function toFourDigits(_key: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(4)) : value;
}

function conclude(saved: readonly Figure[]): void {
  const comparison = compare(saved, report.figures, tolerance);
  console.log(`\n${describe(comparison, tolerance)}\n${describeLoad(report.figures)}`);
  if (flags.summary !== undefined) summarize(saved, flags.summary);
  Deno.exit(passes(comparison) ? 0 : 1);
}

/** GitHub shows what is appended to its file of summaries on the page of the run. */
function summarize(saved: readonly Figure[], file: string): void {
  const text = [
    `## Benchmarks\n\n${report.machine}, Deno ${report.deno}, ${report.date}`,
    formatComparison(saved, report.figures, tolerance),
    describeLoad(report.figures),
  ].join("\n\n");
  Deno.writeTextFileSync(file, `${text}\n`, { append: true });
}
