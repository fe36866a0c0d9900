/** Descent's sparse steps, as a program to be measured. Argument: the backend. */

import { type BackendName, SGD, type SparseParameter } from "@descent/sgd";
import { serve } from "../peers/serve.ts";

const [ROWS, COLUMNS, TOUCHED] = [50_000, 256, 4_096];
/** Coprime to the number of rows, so that its multiples name different rows, in no order. */
const STRIDE = 20_011;

const scattered = Array.from({ length: TOUCHED }, (_, i) => i * STRIDE % ROWS);
const orders = { scattered, sorted: scattered.toSorted((a, b) => a - b) };

const data = new Float32Array(ROWS * COLUMNS).fill(0.05);
const values = new Float32Array(TOUCHED * COLUMNS).fill(0.01);
const runs = Object.entries(orders).map(([name, rows]) => {
  const grad = { indices: Int32Array.from(rows), values, shape: [ROWS, COLUMNS] as const };
  const w: SparseParameter = { data, grad };
  const optimizer = new SGD([w], { lr: 1e-3, backend: Deno.args[0] as BackendName });
  return [name, () => optimizer.step()] as const;
});
await serve(Object.fromEntries(runs), `Deno ${Deno.version.deno}`);
