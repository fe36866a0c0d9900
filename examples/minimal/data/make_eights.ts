/**
 * Makes `eights.csv` from the digits of the demo: of each image of a 3 or an 8 the ink of its 8 rows and 8
 * columns, and whether it is an 8.
 *
 *     deno run --allow-read --allow-write examples/minimal/data/make_eights.ts
 */

import { readDigits } from "../../digits/dataset.ts";

const SIZE = 8;
const { length, images, labels } = await readDigits();
const numbers = Array.from({ length: SIZE }, (_, i) => i);
const lines = [[...numbers.map((i) => `row${i}`), ...numbers.map((i) => `column${i}`), "is_eight"]];
for (let image = 0; image < length; image++) {
  if (labels[image] !== 3 && labels[image] !== 8) continue;
  const ink = (row: number, column: number) => images[(image * SIZE + row) * SIZE + column];
  const sumOf = (at: (i: number) => number) => numbers.reduce((sum, i) => sum + at(i), 0);
  const rows = numbers.map((row) => sumOf((column) => ink(row, column)));
  const columns = numbers.map((column) => sumOf((row) => ink(row, column)));
  lines.push([...rows, ...columns, labels[image] === 8 ? 1 : 0].map(String));
}
const text = lines.map((line) => `${line.join(",")}\n`).join("");
await Deno.writeTextFile(new URL("eights.csv", import.meta.url), text);
