/**
 * Measures the row that its first argument names, and prints the figure as JSON. Further arguments:
 * how many steps are taken where one is timed, and `quick` for fewer samples.
 */

import { measure, openStep } from "./measure.ts";
import { allRows, nameOf } from "./rows.ts";
import { FULL, QUICK } from "./sampler.ts";

const [name, times, effort] = Deno.args;
const row = allRows().find((row) => nameOf(row) === name);
if (row === undefined) throw new RangeError(`Cannot find row "${name}"`);
const figure = measure(row, openStep(row), effort === "quick" ? QUICK : FULL, Number(times));
console.log(JSON.stringify(figure));
