/**
 * The rows as `Deno.bench` groups, one per workload, for those who call `deno bench -A` themselves.
 * Deno prints averages, which include the pauses of the machine, and its rows share compiled code;
 * `deno task bench` measures each row in a process of its own and prints medians instead.
 */

import { obstacle, openStep } from "./measure.ts";
import { allRows, labelOf, MAIN_MODE, type Row } from "./rows.ts";

/** The row whose turn it is; those before it have released their memory. */
let current: { readonly row: Row; readonly step: () => void } | undefined;

for (const row of allRows().filter(({ company }) => !company)) register(row);

function register(row: Row): void {
  Deno.bench({
    name: labelOf(row),
    group: row.workload.name,
    baseline: row.backend === "cpu" && row.mode === MAIN_MODE && row.foreach &&
      row.dtype === "float32",
    ignore: obstacle(row) !== null,
    ...repetitions(row),
    fn(bench) {
      if (current?.row === row) return current.step();
      current = undefined;
      const step = openStep(row);
      step(); // the first step makes the momentum buffers
      current = { row, step };
      bench.start(); // so that what came before is not counted
      step();
      bench.end();
    },
  });
}

/** Deno calls short functions many times anyway; long ones take few calls to time. */
function repetitions({ workload }: Row): { n: number; warmup: number } {
  return workload.elements > 1e6 ? { n: 3, warmup: 1 } : { n: 5, warmup: 5 };
}
