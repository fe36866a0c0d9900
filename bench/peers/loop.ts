/** The loop that one writes without an optimizer library, as a program to be measured. */

import { createArray, createParameters } from "../memory.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { findWorkload } from "../workloads.ts";
import { serve } from "./serve.ts";

const { momentum, weightDecay } = MODES[MAIN_MODE];

interface Slot {
  readonly data: Float32Array;
  readonly grad: Float32Array;
  readonly buffer: Float32Array;
}

const slots = createParameters(findWorkload(Deno.args[0]), "float32").map((
  { data, grad },
): Slot => ({
  data: data as Float32Array,
  grad: grad as Float32Array,
  buffer: createArray("float32", data.length, 0.01),
}));

/** SGD with Nesterov momentum and weight decay. */
function step(): void {
  for (const { data, grad, buffer } of slots) {
    for (let i = 0; i < data.length; i++) {
      const g = grad[i] + weightDecay * data[i];
      const b = momentum * buffer[i] + g;
      buffer[i] = b;
      data[i] -= LR * (g + momentum * b);
    }
  }
}

await serve({ step }, "");
