/**
 * Descent's steps with and without averaged weights, as a program to be measured. Arguments: workload,
 * backend.
 */

import { type BackendName, SGD, WeightAverage } from "@descent/sgd";
import { createParameters } from "../memory.ts";
import { serve } from "../peers/serve.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { findWorkload } from "../workloads.ts";
import { APART, AVERAGED, STEP } from "./average.ts";

const [name, backend] = Deno.args as [string, BackendName];
const parameters = createParameters(findWorkload(name), "float32");
const optimizer = new SGD(parameters, { lr: LR, ...MODES[MAIN_MODE], backend });
const average = new WeightAverage(parameters, { decay: 0.999, backend });

await serve(
  {
    [STEP]: () => optimizer.step(),
    [AVERAGED]: () => optimizer.step({ average }),
    [APART]: () => {
      optimizer.step();
      average.update();
    },
  },
  `Deno ${Deno.version.deno}`,
);
