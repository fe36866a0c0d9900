/** The ranks of a job that train together, or a process alone. */

import { openWorld, WorldUnavailableError } from "@descent/sgd/mpi";
import type { World } from "@descent/sgd/mpi";

/** The ranks, as the demo needs them. */
export interface Ranks extends Disposable {
  readonly rank: number;
  readonly size: number;
  readonly engine: string;
  /** For the optimizer; undefined without the native library. */
  readonly world: World | undefined;
  sum(values: Float64Array): Float64Array;
}

/** Joins the job. Without the native library a process is alone: the demo then runs on `js`. */
export function openRanks(): Ranks {
  try {
    const world = openWorld();
    const { rank, size, engine } = world;
    const sum = (values: Float64Array) => world.sum(values);
    return { rank, size, engine, world, sum, [Symbol.dispose]: () => world[Symbol.dispose]() };
  } catch (error) {
    if (!(error instanceof WorldUnavailableError)) throw error;
    const alone = { rank: 0, size: 1, engine: "none", world: undefined };
    return { ...alone, sum: (values) => values, [Symbol.dispose]() {} };
  }
}
