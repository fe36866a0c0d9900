/** Descent's sparse steps, as a program to be measured. Argument: the backend. */

import { type BackendName, SGD, type SparseParameter } from "@descent/sgd";
import { serve } from "../peers/serve.ts";

const [ROWS, COLUMNS, TOUCHED] = [50_000, 256, 4_096];
/** Coprime to the number of rows, so that its multiples name different rows, in no order. */
const STRIDE = 20_011;

const scattered = (count: number) => Array.from({ length: count }, (_, i) => i * STRIDE % ROWS);
const sorted = scattered(TOUCHED).sort((a, b) => a - b);
const cases = {
  scattered: { rows: scattered(TOUCHED) },
  sorted: { rows: sorted },
  "a quarter of them, scattered": { rows: scattered(TOUCHED / 4) },
  "four times as many, scattered": { rows: scattered(4 * TOUCHED) },
  "sorted, with momentum": { rows: sorted, momentum: 0.9 },
};

const data = new Float32Array(ROWS * COLUMNS).fill(0.05);
const runs = Object.entries(cases).map(([name, { rows, ...options }]) => {
  const values = new Float32Array(rows.length * COLUMNS).fill(0.01);
  const grad = { indices: Int32Array.from(rows), values, shape: [ROWS, COLUMNS] as const };
  const w: SparseParameter = { data, grad };
  const optimizer = new SGD([w], { lr: 1e-3, ...options, backend: Deno.args[0] as BackendName });
  return [name, () => optimizer.step()] as const;
});
await serve(Object.fromEntries(runs), `Deno ${Deno.version.deno}`);
