/** What else a process may step: tensors below and above 64 elements, of every dtype and kind. */

import { SGD, sgdVjp } from "@descent/sgd";
import type { BackendName, Rounding, SGDOptions, SparseParameter, StepOptions } from "@descent/sgd";
import { createArray, createParameters } from "./memory.ts";
import { LR, MAIN_MODE, MODES } from "./rows.ts";
import { createWorkload } from "./workloads.ts";

const SIZES = createWorkload("company", [[10], [63], [64], [256], [40, 256]]);
const WIDE = ["float32", "float64"] as const;
const ROUNDINGS: readonly Rounding[] = ["nearest", "torch", "stochastic"];
/** State of fewer bytes. */
const SMALLER: readonly [dtype: "float32" | "bfloat16", Partial<SGDOptions>][] = [
  ["float32", { momentumBits: 8 }],
  ["bfloat16", { momentumBits: 8, masterWeights: "split" }],
  ["bfloat16", { masterWeights: "split24" }],
];
const ASKED: readonly StepOptions[] = [{}, { gradScale: 2, maxNorm: 1, maxValue: 0.1 }];

/** Enough for V8 to compile what it has seen, and to see more. */
const STEPS = 200;

/** Takes steps of all dtypes, formats and options, with sparse gradients too, and goes back. */
export function stepCompany(backend: BackendName): void {
  const options = { lr: LR, ...MODES[MAIN_MODE], backend };
  for (const dtype of [...WIDE, "float16", "bfloat16"] as const) {
    for (const rounding of ROUNDINGS) {
      const optimizer = new SGD(createParameters(SIZES, dtype), { ...options, rounding });
      for (const asked of ASKED) repeat(() => optimizer.step(asked));
    }
  }
  for (const [dtype, smaller] of SMALLER) {
    const optimizer = new SGD(createParameters(SIZES, dtype), { ...options, ...smaller });
    for (const asked of ASKED) repeat(() => optimizer.step(asked));
  }
  for (const dtype of WIDE) {
    const matrix = new SGD([createMatrix(dtype)], { lr: LR, momentum: 0.9, backend });
    repeat(() => matrix.step());
    const params = createParameters(SIZES, dtype);
    const arrays = params.map(({ data }) => data);
    const grads = params.map(({ grad }) => grad);
    const hyperparameters = { ...options, dampening: 0, maximize: false };
    repeat(() => sgdVjp(arrays, grads, arrays, { params: grads }, hyperparameters));
  }
}

/** A matrix whose gradient has some of its rows, one of them twice. */
function createMatrix(dtype: typeof WIDE[number]): SparseParameter {
  const [rows, columns] = [50, 16];
  const indices = Int32Array.of(3, 8, 3, 40);
  const values = createArray(dtype, indices.length * columns, 0.01);
  return {
    data: createArray(dtype, rows * columns, 0.05),
    grad: { indices, values, shape: [rows, columns] },
  };
}

function repeat(run: () => unknown): void {
  for (let i = 0; i < STEPS; i++) run();
}
