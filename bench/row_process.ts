/** Measures the row that its first argument names, and prints the figure as JSON. */

import { measure, openStep } from "./measure.ts";
import { allRows, nameOf } from "./rows.ts";
import { FULL } from "./sampler.ts";

const [name, times] = Deno.args;
const row = allRows().find((row) => nameOf(row) === name);
if (row === undefined) throw new RangeError(`Cannot find row "${name}"`);
console.log(JSON.stringify(measure(row, openStep(row), FULL, Number(times))));
