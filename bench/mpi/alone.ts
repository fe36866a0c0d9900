/**
 * Steps of one process with a world of one rank, and without a world, in turn: batches of both
 * alternate, over the same parameters. Prints them as JSON.
 */

import { SGD } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import { median, OPTIONS } from "./rows.ts";

/** How a step compares; times in nanoseconds. */
export interface Pair {
  readonly what: string;
  readonly withWorld: number;
  readonly without: number;
}

/** Batches of each. */
const BATCHES = 100;
/** How long a batch takes at least, in milliseconds. */
const BATCH_MS = 2;

const length = Number(Deno.args[0]);
const SIZES: readonly (readonly [string, number, number])[] = [
  ["2 x 10 elements", 2, 10],
  ["161 x 10 elements", 161, 10],
  [`${length.toLocaleString("en")} elements`, 1, length],
];

function timeOf(step: () => void, count: number): number {
  const start = performance.now();
  for (let i = 0; i < count; i++) step();
  return (performance.now() - start) / count;
}

function createSteps(tensors: number, length: number): (() => void)[] {
  const params = Array.from({ length: tensors }, () => ({
    data: new Float32Array(length),
    grad: Float32Array.from({ length }, (_, i) => (i % 1000 - 500) / 1e6),
  }));
  return [{ world }, {}].map((more) => {
    const optimizer = new SGD(params, { ...OPTIONS, ...more });
    return () => optimizer.step();
  });
}

function compare([what, tensors, length]: typeof SIZES[number]): Pair {
  const steps = createSteps(tensors, length);
  const WARM = tensors * length > 1e6 ? 3 : 10_000;
  const least = Math.max(...steps.map((step) => timeOf(step, WARM)));
  const count = Math.ceil(BATCH_MS / least);
  const times: [number[], number[]] = [[], []];
  for (let batch = 0; batch < BATCHES; batch++) {
    // Each of both is the first one every other time.
    for (const i of [batch % 2, 1 - batch % 2]) times[i].push(timeOf(steps[i], count));
  }
  const [withWorld, without] = times.map((own) => 1e6 * median(own));
  return { what, withWorld, without };
}

using world = openWorld();
console.log(JSON.stringify(SIZES.map(compare)));
