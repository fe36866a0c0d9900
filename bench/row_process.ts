/** Measures the row that its first argument names, and prints the figure as JSON. */

import { measure, openStep } from "./measure.ts";
import { allRows, nameOf } from "./rows.ts";
import { FULL } from "./sampler.ts";

const [name, times] = Deno.args;
const row = allRows().find((row) => nameOf(row) === name);
if (row === undefined) throw new RangeError(`Cannot find row "${name}"`);
const step = openStep(row);
const figure = measure(row, times === "1" ? step : repeated(step, Number(times)), FULL);
console.log(JSON.stringify(figure));

/** A planted slow-down: more steps where one is timed. */
function repeated(step: () => void, times: number): () => void {
  return () => {
    for (let i = 0; i < times; i++) step();
  };
}
