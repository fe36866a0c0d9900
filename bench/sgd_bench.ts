/**
 * The rows as `Deno.bench` groups, one per workload. `deno task bench` runs this file and prints the
 * throughput of the rows after it; `deno bench` alone runs it too.
 *
 * Before Deno's own measurement, the first call of a row times the step and the roofline in turn.
 */

import { parseArgs } from "@std/cli/parse-args";
import { type Figure, measure, obstacle, openStep } from "./measure.ts";
import { allRows, labelOf, MAIN_MODE, quickRows, type Row } from "./rows.ts";
import { FULL, QUICK } from "./sampler.ts";

const { quick, figures: file } = parseArgs(Deno.args, { boolean: ["quick"], string: ["figures"] });
const figures: Figure[] = [];

/** The row whose turn it is; those before it have released their memory. */
let current: { readonly row: Row; readonly step: () => void } | undefined;

for (const row of quick ? quickRows() : allRows()) register(row);

if (file !== undefined) {
  addEventListener("unload", () => Deno.writeTextFileSync(file, JSON.stringify(figures)));
}

function register(row: Row): void {
  const reason = obstacle(row);
  Deno.bench({
    name: labelOf(row),
    group: row.workload.name,
    baseline: row.backend === "cpu" && row.mode === MAIN_MODE && row.foreach &&
      row.dtype === "float32",
    ignore: reason !== null,
    ...repetitions(row),
    fn(bench) {
      if (current?.row === row) return current.step();
      current = undefined;
      const step = openStep(row);
      figures.push(measure(row, step, quick ? QUICK : FULL));
      current = { row, step };
      bench.start(); // so that what came before is not counted
      step();
      bench.end();
    },
  });
}

/** Deno calls short functions many times anyway; long ones take few calls to time. */
function repetitions({ workload }: Row): { n: number; warmup: number } {
  if (workload.elements > 1e6) return { n: 3, warmup: 1 };
  return quick ? { n: 2, warmup: 2 } : { n: 5, warmup: 5 };
}
