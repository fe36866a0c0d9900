/**
 * Descent's steps in float32 and in another format, as a program to be measured. Arguments: workload,
 * backend, the format's key.
 */

import type { BackendName } from "@descent/sgd";
import { serve } from "../peers/serve.ts";
import { findWorkload } from "../workloads.ts";
import { createOptimizer, FLOAT32, type FormatName, FORMATS } from "./formats.ts";

const [name, backend, key] = Deno.args as [string, BackendName, FormatName];
const workload = findWorkload(name);
const full = createOptimizer(workload, FLOAT32, backend);
const lean = createOptimizer(workload, FORMATS[key], backend);
await serve({ float32: () => full.step(), step: () => lean.step() }, `Deno ${Deno.version.deno}`);
