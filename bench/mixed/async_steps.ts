/**
 * Descent's plain steps, at once and without blocking the event loop, of tensors in buffers of their own, as a
 * program to be measured. Argument: the workload.
 */

import { SGD } from "@descent/sgd";
import { createParameters } from "../memory.ts";
import { serve } from "../peers/serve.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { findWorkload } from "../workloads.ts";

const parameters = createParameters(findWorkload(Deno.args[0]), "float32");
const optimizer = new SGD(parameters, { lr: LR, ...MODES[MAIN_MODE], backend: "cpu" });

await serve(
  { step: () => optimizer.step() },
  `Deno ${Deno.version.deno}`,
  { stepAsync: () => optimizer.stepAsync() },
);
