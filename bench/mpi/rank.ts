/** One rank of a job that `bench/mpi.ts` measures: rank 0 is asked, and all of them step. */

import { SGD } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import type { World } from "@descent/sgd/mpi";
import { lines } from "../peers/serve.ts";

/** Steps that a sample is the median of, after one that is not timed. */
const STEPS = 5;
/** The same for a step of one element. */
const TINY_STEPS = 2000;

const OPTIONS = { lr: 1e-3, momentum: 0.9, weightDecay: 1e-4 };

interface Run {
  readonly step: () => void;
  readonly count: number;
}

function createRun(world: World | undefined, length: number, more: object, isShared = false): Run {
  const make = () => isShared ? world!.zeros(length, "float32") : new Float32Array(length);
  const [data, grad] = [make(), make()];
  for (let i = 0; i < length; i++) grad[i] = (i % 1000 - 500) * ((world?.rank ?? 0) + 1) / 1e6;
  const optimizer = new SGD([{ data, grad }], { ...OPTIONS, ...more, ...world && { world } });
  return { step: () => optimizer.step(), count: length > 1 ? STEPS : TINY_STEPS };
}

/** What is measured, by name. An exchange that this version does not have is left out. */
function createRuns(world: World, length: number): Map<string, Run> {
  const runs = new Map<string, Run>();
  const add = (name: string, create: () => Run) => {
    try {
      runs.set(name, create());
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  };
  if (world.size > 1) {
    for (const exchange of ["shards", "gradients"]) {
      add(exchange, () => createRun(world, length, { exchange }));
    }
    add("shared", () => createRun(world, length, { exchange: "shards" }, true));
    add("signs", () => createRun(world, length, { exchange: "signs", sign: true }));
    add("one element", () => createRun(world, 1, {}));
    add("barrier", () => ({ step: () => world.barrier(), count: TINY_STEPS }));
  } else {
    add("with world", () => createRun(world, length, {}));
    add("without world", () => createRun(undefined, length, {}));
  }
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
