/**
 * Logistic regression from a CSV file: numbers in all columns, and 0 or 1 in the last one.
 *
 *     deno run --allow-read logistic.ts data.csv
 */

import { SGD } from "jsr:@descent/sgd@^0.1.0";

// Copy from here ----------------------------------------------------------------------------------

const { names, rows, labels } = parse(await Deno.readTextFile(Deno.args[0]));
const columns = names.length;

const weights = {
  data: new Float32Array(columns),
  grad: new Float32Array(columns),
  name: "weights",
};
const bias = { data: new Float32Array(1), grad: new Float32Array(1), name: "bias" };
const optimizer = new SGD(
  [{ params: [weights], weightDecay: 1e-4 }, { params: [bias] }],
  { lr: 0.1, momentum: 0.9 },
);

for (let epoch = 1; epoch <= 200; epoch++) {
  let loss = 0;
  rows.forEach((row, i) => {
    const score = row.reduce((sum, x, k) => sum + x * weights.data[k], bias.data[0]);
    const probability = 1 / (1 + Math.exp(-score));
    loss += Math.log1p(Math.exp(labels[i] === 1 ? -score : score)) / rows.length;
    const slope = (probability - labels[i]) / rows.length; // of the loss with respect to the score
    row.forEach((x, k) => weights.grad[k] += slope * x);
    bias.grad[0] += slope;
  });
  optimizer.step({ zeroGrad: true });
  if (epoch % 50 === 0) console.log(`epoch ${epoch}  loss ${loss.toFixed(4)}`);
}

// To here -----------------------------------------------------------------------------------------

const right = rows.filter((row, i) => {
  const score = row.reduce((sum, x, k) => sum + x * weights.data[k], bias.data[0]);
  return Number(score > 0) === labels[i];
});
console.log(`accuracy ${(100 * right.length / rows.length).toFixed(1)} % of ${rows.length} rows`);

/** Reads a table, and brings each column to mean 0 and deviation 1. */
function parse(text: string): { names: string[]; rows: Float32Array[]; labels: number[] } {
  const [header, ...lines] = text.trim().split(/\r?\n/).map((line) => line.split(","));
  const names = header.slice(0, -1);
  const labels = lines.map((cells) => Number(cells.at(-1)));
  const rows = lines.map((cells) => Float32Array.from(cells.slice(0, -1), Number));
  for (let k = 0; k < names.length; k++) {
    const mean = rows.reduce((sum, row) => sum + row[k], 0) / rows.length;
    const variance = rows.reduce((sum, row) => sum + (row[k] - mean) ** 2, 0) / rows.length;
    for (const row of rows) row[k] = (row[k] - mean) / (Math.sqrt(variance) || 1);
  }
  return { names, rows, labels };
}
