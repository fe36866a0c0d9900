/** Descent's step of mixed precision, as a program to be measured. Arguments: workload, backend. */

import { type BackendName, clipGradNorm, GradScaler, SGD } from "@descent/sgd";
import { createParameters } from "../memory.ts";
import { serve } from "../peers/serve.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { findWorkload } from "../workloads.ts";

/** Clips gradients of zeros too, which is what they are from the second step on. */
const MAX_NORM = 1e-7;

const [name, backend] = Deno.args as [string, BackendName];
const parameters = createParameters(findWorkload(name), "float32");
const optimizer = new SGD(parameters, { lr: LR, ...MODES[MAIN_MODE], backend });
const scaler = new GradScaler({ growthInterval: 1e9 });

function step(): void {
  scaler.step(optimizer, { maxNorm: MAX_NORM, zeroGrad: true });
  scaler.update();
}

async function stepAsync(): Promise<void> {
  await scaler.stepAsync(optimizer, { maxNorm: MAX_NORM, zeroGrad: true });
  scaler.update();
}

await serve(
  {
    step,
    "unscale and zero only": () =>
      optimizer.step({ gradScale: 1024, checkFinite: false, zeroGrad: true }),
    "clipGradNorm alone": () => void clipGradNorm(parameters, MAX_NORM, { backend }),
  },
  `Deno ${Deno.version.deno}`,
  { stepAsync },
);
