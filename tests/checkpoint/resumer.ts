/**
 * The second half of runs that another process has stopped: `resumer.ts FOLDER BACKEND`.
 *
 * Prints, for each file of the folder, what the run is right after loading and at its end.
 */

import type { BackendName } from "@descent/sgd";
import { fingerprint, resume, RUNS, STEPS, train } from "./runs.ts";

const [folder, backend] = Deno.args as [string, BackendName];
const results: Record<string, { loaded: string; end: string }> = {};

for (const [i, run] of RUNS.entries()) {
  const training = await resume(run, backend, `${folder}/${i}`);
  const loaded = fingerprint(training);
  train(training, run, STEPS.before, STEPS.before + STEPS.after);
  results[i] = { loaded, end: fingerprint(training) };
}
console.log(JSON.stringify(results));
