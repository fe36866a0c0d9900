/**
 * Data-parallel training: several processes, started by `mpirun` or `mpiexec`, that train one model.
 *
 * | | |
 * | --- | --- |
 * | {@linkcode openWorld} | joins the job; without a launcher it has one rank, and needs no MPI |
 * | {@linkcode World} | rank and size, and what ranks do together |
 * | {@linkcode WorldError} | thrown by all ranks if they do different things or one has ended |
 * | {@linkcode WorldUnavailableError} | thrown where there is a launcher, and no library of MPI |
 *
 * Guide: [more than one process](https://github.com/descent/sgd/blob/main/docs/distributed.md).
 *
 * @example
 * ```ts ignore
 * // deno run -A main.ts, or mpirun -n 4 deno run -A main.ts
 * import { openWorld } from "@descent/sgd/mpi";
 *
 * using world = openWorld();
 * console.log(`rank ${world.rank} of ${world.size}`);
 * ```
 *
 * @module
 */

export { openWorld } from "./src/world/open.ts";
export type { WorldOptions } from "./src/world/open.ts";
export { World } from "./src/world/world.ts";
export type { WorldArray } from "./src/world/arrays.ts";
export type { SharedArrays } from "./src/world/shared.ts";
export { WorldError, WorldUnavailableError } from "./src/world/errors.ts";
