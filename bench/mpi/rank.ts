/** One rank of a job that `bench/mpi.ts` measures: rank 0 is asked, and all of them step. */

import { SGD } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import type { World } from "@descent/sgd/mpi";
import { lines } from "../peers/serve.ts";
import { HEADER, ONE_ELEMENT, OPTIONS, STEPS } from "./rows.ts";

/** Steps that a sample is the mean of, where one is too short for the clock. */
const TINY_STEPS = 2000;

interface Run {
  readonly step: () => void;
  readonly count: number;
}

function createRun(world: World, length: number, more: object, isShared = false): Run {
  const make = () => isShared ? world.zeros(length, "float32") : new Float32Array(length);
  const [data, grad] = [make(), make()];
  for (let i = 0; i < length; i++) grad[i] = (i % 1000 - 500) * (world.rank + 1) / 1e6;
  const optimizer = new SGD([{ data, grad }], { ...OPTIONS, ...more, world });
  return { step: () => optimizer.step(), count: length > 1 ? STEPS : TINY_STEPS };
}

/** What is measured, by name. */
function createRuns(world: World, length: number): Map<string, Run> {
  const runs = new Map<string, Run>();
  for (const exchange of ["shards", "gradients"]) {
    runs.set(exchange, createRun(world, length, { exchange }));
  }
  if (world.localSize === world.size) {
    runs.set("shared", createRun(world, length, { exchange: "shards" }, true));
  }
  runs.set("signs", createRun(world, length, { exchange: "signs", sign: true }));
  runs.set(ONE_ELEMENT, createRun(world, 1, {}));
  runs.set(HEADER, { step: () => world.barrier(), count: TINY_STEPS });
  return runs;
}

/** Nanoseconds of a step: the median, or the mean of steps that are too short for the clock. */
function sample({ step, count }: Run): number {
  step();
  if (count > STEPS) {
    const start = performance.now();
    for (let i = 0; i < count; i++) step();
    return 1e6 * (performance.now() - start) / count;
  }
  const times = Array.from({ length: count }, () => {
    const start = performance.now();
    step();
    return performance.now() - start;
  });
  return 1e6 * times.sort((a, b) => a - b)[count >> 1];
}

using world = openWorld();
const runs = createRuns(world, Number(Deno.args[0]));
if (world.rank === 0) {
  console.log(JSON.stringify({ runs: [...runs.keys()], about: world.engine }));
  for await (const name of lines(Deno.stdin.readable)) {
    world.gather(name);
    console.log(`${sample(runs.get(name)!)}`);
  }
  world.gather("");
} else {
  for (let name = world.gather("")[0]; name !== ""; name = world.gather("")[0]) {
    sample(runs.get(name)!);
  }
}
