/**
 * Measures all rows and prints one figure for each: `deno task bench [--quick]`.
 *
 * @module
 */

import { readFlags, refuseOnly } from "./flags.ts";
import { type Figure, obstacle } from "./measure.ts";
import { library } from "./references.ts";
import { measureInProcess } from "./row_runner.ts";
import { allRows, nameOf, quickRows, type Row } from "./rows.ts";
import { describeLoad, describeMachine, formatFigures, today } from "./text.ts";

const HELP = `Measures steps of all workloads, backends and modes.

Usage: deno task bench [options]

  --quick      fewer rows and shorter: 30 seconds
  --only TEXT  only the rows that have this text in their name
  --help       show this text`;

const { quick, only = "" } = readFlags(Deno.args, {
  switches: ["quick"],
  texts: ["only"],
  help: HELP,
});
const rows = (quick ? quickRows() : allRows()).filter((row) => nameOf(row).includes(only));
if (rows.length === 0) {
  refuseOnly(only, (quick ? quickRows() : allRows()).map(nameOf));
}
if ("reason" in library) console.log(`No rows of the cpu backend: ${library.reason}`);
const figures = rows.flatMap(measureRow);
console.log(`${describeMachine()}, Deno ${Deno.version.deno}, ${today()}`);
if (!("reason" in library)) {
  console.log(`native library: ${library.info.threads} threads, ${library.info.simd}`);
}
console.log("Medians; each step is timed in turn with its reference.\n");
console.log(formatFigures(figures));
console.log(`\n${describeLoad(figures)}`);

function measureRow(row: Row, index: number): Figure[] {
  const reason = obstacle(row);
  if (reason !== null) {
    if (row.backend !== "cpu" || !("reason" in library)) {
      console.log(`Cannot measure ${nameOf(row)}: ${reason}`);
    }
    return [];
  }
  showProgress(`${index + 1} of ${rows.length}: ${nameOf(row)}`);
  const figure = measureInProcess(row, { quick });
  showProgress("");
  return [figure];
}

/** A line that the next one replaces, where somebody watches. */
function showProgress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}
