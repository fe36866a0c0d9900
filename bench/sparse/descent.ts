/** Descent's sparse steps, as a program to be measured. Arguments: the workload, the backend. */

import { type BackendName, SGD, type SparseGrad, type SparseParameter } from "@descent/sgd";
import { serve } from "../peers/serve.ts";

const [ROWS, COLUMNS, TOUCHED] = [50_000, 256, 4_096];
/** Coprime to the number of rows, so that its multiples name different rows, in no order. */
const STRIDE = 20_011;

const backend = Deno.args[1] as BackendName;
const scattered = (count: number) => Array.from({ length: count }, (_, i) => i * STRIDE % ROWS);
const sorted = scattered(TOUCHED).sort((a, b) => a - b);

interface Case {
  readonly rows: readonly number[];
  readonly momentum?: number;
  /** The rows that the first step names: what is in use besides `rows`. */
  readonly first?: readonly number[];
}

const cases: Record<string, Case> = {
  scattered: { rows: scattered(TOUCHED) },
  sorted: { rows: sorted },
  "a quarter of them, scattered": { rows: scattered(TOUCHED / 4) },
  "four times as many, scattered": { rows: scattered(4 * TOUCHED) },
  "sorted, with momentum": { rows: sorted, momentum: 0.9 },
  "scattered, with momentum": { rows: scattered(TOUCHED), momentum: 0.9 },
  "sorted, with momentum, half of all rows in use": {
    rows: sorted,
    momentum: 0.9,
    first: scattered(ROWS / 2),
  },
  "sorted, with momentum, all rows in use": { rows: sorted, momentum: 0.9, first: scattered(ROWS) },
};

const data = new Float32Array(ROWS * COLUMNS).fill(0.05);
const runs = Object.entries(cases).map(([name, { rows, first, ...options }]) => {
  const w: SparseParameter = { data, grad: null };
  const optimizer = new SGD([w], { lr: 1e-3, ...options, backend });
  for (const named of first === undefined ? [rows] : [first, rows]) {
    w.grad = createGrad(named);
    optimizer.step();
  }
  return [name, () => optimizer.step()] as const;
});
const grad = new Float32Array(ROWS * COLUMNS).fill(0.01);
const dense = new SGD([{ data, grad }], { lr: 1e-3, momentum: 0.9, backend });
await serve(
  { ...Object.fromEntries(runs), dense: () => dense.step() },
  `Deno ${Deno.version.deno}`,
);

function createGrad(rows: readonly number[]): SparseGrad {
  const values = new Float32Array(rows.length * COLUMNS).fill(0.01);
  return { indices: Int32Array.from(rows), values, shape: [ROWS, COLUMNS] };
}
