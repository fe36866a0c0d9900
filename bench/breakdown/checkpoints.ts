/**
 * Prints as JSON what saving and loading take: 100,000 tensors of 8 elements with their momentum, and
 * one tensor whose file has as many bytes.
 */

import { loadState, saveState, SGD } from "@descent/sgd";
import { createParameters } from "../memory.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { median } from "../sampler.ts";
import { createWorkload, repeat } from "../workloads.ts";

/** Medians in nanoseconds. */
export interface CheckpointTimes {
  readonly tensors: number;
  /** Bytes of the file. */
  readonly bytes: number;
  readonly save: number;
  readonly load: number;
}

const MANY = 100_000;
const ELEMENTS = 8;
const ROUNDS = 7;

if (import.meta.main) {
  const many = await measure(MANY, ELEMENTS);
  const one = await measure(1, Math.round(many.bytes / 8)); // 4 bytes of data and 4 of momentum
  console.log(JSON.stringify([one, many]));
}

async function measure(tensors: number, elements: number): Promise<CheckpointTimes> {
  const workload = createWorkload(`${tensors} x ${elements}`, repeat(tensors, [elements]));
  const parameters = createParameters(workload, "float32")
    .map((parameter, i) => ({ ...parameter, name: `layers.${i}.weight` }));
  const optimizer = new SGD(parameters, { lr: LR, ...MODES[MAIN_MODE], backend: "js" });
  optimizer.step();
  const folder = await Deno.makeTempDir();
  const path = `${folder}/run.safetensors`;
  const [saves, loads]: number[][] = [[], []];
  try {
    for (let i = 0; i < ROUNDS; i++) {
      saves.push(await time(() => saveState(path, optimizer, { parameters: true })));
      loads.push(await time(() => loadState(path)));
    }
    const { size } = await Deno.stat(path);
    return { tensors, bytes: size, save: median(saves), load: median(loads) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function time(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return 1e6 * (performance.now() - start);
}
