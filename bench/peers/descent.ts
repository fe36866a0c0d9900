/** Descent, as a program to be measured. Arguments: the backend, and `roofline` to serve that too. */

import { type BackendName, SGD } from "@descent/sgd";
import { createParameters } from "../memory.ts";
import { LARGE } from "../measure.ts";
import { library, openRoofline } from "../references.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { findWorkload } from "../workloads.ts";
import { serve } from "./serve.ts";

const [name, backend, extra] = Deno.args;
const workload = findWorkload(name);
const optimizer = new SGD(createParameters(workload, "float32"), {
  lr: LR,
  ...MODES[MAIN_MODE],
  backend: backend as BackendName,
});
const roofline = extra === "roofline" && workload.elements >= LARGE
  ? openRoofline(4 * workload.elements, true)
  : null;
const simd = "reason" in library ? "" : ` (native code: ${library.info.simd})`;
await serve(
  { step: () => optimizer.step(), ...(roofline === null ? {} : { roofline }) },
  backend === "cpu" ? `Deno ${Deno.version.deno}${simd}` : "",
);
