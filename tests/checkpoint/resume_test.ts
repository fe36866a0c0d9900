/** A run that is stopped and resumes in another process ends where it would have ended. */

import { assert, assertEquals } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { BackendName } from "@descent/sgd";
import { script } from "./process.ts";
import { fingerprint, RUNS, start, STEPS, stop, train } from "./runs.ts";

const BACKENDS: BackendName[] = ["js", "cpu"];
const end = STEPS.before + STEPS.after;

function isThere(backend: BackendName): boolean {
  try {
    new SGD([{ data: new Float32Array(1), grad: null }], { lr: 0.1, backend });
    return true;
  } catch {
    return false;
  }
}

/** Whether the rule promises equal bits where a run changes its backend. */
function promises({ dtype, exact }: typeof RUNS[number], from: string, to: string): boolean {
  return from === to || exact || dtype !== "float64";
}

async function stopAll(folder: string, backend: BackendName) {
  const saved: string[] = [];
  for (const [i, run] of RUNS.entries()) {
    const training = start(run, backend);
    train(training, run, 0, STEPS.before);
    saved.push(fingerprint(training));
    await stop(training, `${folder}/${i}`);
  }
  return saved;
}

async function resumeAll(folder: string, backend: BackendName) {
  const { success, stdout } = await script("resumer.ts", [folder, backend]).output();
  assert(success);
  return JSON.parse(new TextDecoder().decode(stdout));
}

for (const from of BACKENDS) {
  for (const to of BACKENDS) {
    const missing = [from, to].filter((backend) => !isThere(backend));
    const note = missing.length > 0 ? ` (skipped: backend ${missing[0]} is not there)` : "";
    Deno.test({
      name: `${RUNS.length} kinds of run resume bit for bit, from ${from} to ${to}${note}`,
      ignore: missing.length > 0,
      async fn() {
        const folder = await Deno.makeTempDir();
        const saved = await stopAll(folder, from);
        const resumed = await resumeAll(folder, to);
        let compared = 0;
        for (const [i, run] of RUNS.entries()) {
          assertEquals(resumed[i].loaded, saved[i], run.name);
          if (!promises(run, from, to)) continue;
          const straight = start(run, to);
          train(straight, run, 0, end);
          assertEquals(resumed[i].end, fingerprint(straight), run.name);
          compared++;
        }
        assert(compared >= RUNS.length * 3 / 4);
        await Deno.remove(folder, { recursive: true });
      },
    });
  }
}
