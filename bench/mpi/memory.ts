/**
 * One rank of a job that measures what a step with `"shards"` adds to the memory of a process: the
 * pages of its own that are resident, which Linux counts. Rank 0 prints the most of all ranks as JSON.
 */

import { SGD } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import { OPTIONS } from "./rows.ts";

/** Bytes that a rank has more. */
export interface Memory {
  readonly engine: string;
  /** After an optimizer without momentum has stepped: staging, and what the library of MPI takes. */
  readonly staging: number;
  /** After another one of the same parameters, with momentum, has stepped. */
  readonly momentum: number;
}

/** Bytes of resident pages that belong to this process alone. */
function residentBytes(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)![1]);
}

using world = openWorld();
const length = Number(Deno.args[0]);
const params = [{ data: new Float32Array(length).fill(1), grad: new Float32Array(length).fill(1) }];
const options = { ...OPTIONS, world, exchange: "shards" as const };
const grown = [0, OPTIONS.momentum].map((momentum) => {
  const before = residentBytes();
  new SGD(params, { ...options, momentum }).step();
  return residentBytes() - before;
});
const own = { staging: grown[0], momentum: grown[1] };
const all: typeof own[] = world.gather(JSON.stringify(own)).map((text) => JSON.parse(text));
if (world.rank === 0) {
  console.log(JSON.stringify({
    engine: world.engine,
    staging: Math.max(...all.map(({ staging }) => staging)),
    momentum: Math.max(...all.map(({ momentum }) => momentum)),
  }));
}
