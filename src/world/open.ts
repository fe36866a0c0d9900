/** Opens the world of a process: the job whose launcher has started it. */

import { checkKnown, checkNumber, checkObject, checkString, POSITIVE } from "../core/validate.ts";
import { registerTogether } from "../step/in_world.ts";
import { Together } from "../step/together.ts";
import { openLink } from "./link.ts";
import { createWorld } from "./world.ts";
import type { World } from "./world.ts";

/**
 * The options of `openWorld`.
 *
 * @category World
 */
export interface WorldOptions {
  /**
   * The library of MPI: its path, or a name that the system's loader finds. Without it, the environment
   * variable `DESCENT_MPI` names it, and otherwise it is looked for by the launcher that has started this
   * process.
   */
  library?: string;
  /**
   * How many milliseconds to wait for ranks that do not answer, > 0, before the job is ended with a message
   * on stderr and code 1. It also limits how long ranks wait for each other in `openWorld`.
   * @default {600_000}
   */
  timeout?: number;
}

const TIMEOUT = 600_000;

/**
 * Joins the job that a launcher such as `mpirun` or `mpiexec` has started. Without one, and with
 * `mpirun -n 1`, this process is rank 0 of 1: no library of MPI is opened, and without a launcher
 * Descent's own is not needed either. MPI can be started once in a process.
 *
 * It waits until all ranks have called it. If some do not within the timeout, a message is printed and
 * the job ends with code 1, as MPI cannot be interrupted while it starts.
 *
 * @throws {WorldUnavailableError} If a launcher has started this process, or may have, and no library of
 * MPI, or no native library of Descent, can be used; the message names what was tried.
 * @throws {WorldError} If the launcher and the library do not belong together, the ranks cannot reach
 * each other, or this process has opened a world before.
 * @throws {TypeError} If an option is of another type, or does not exist.
 * @throws {RangeError} If the timeout, or a setting of the environment, is out of range.
 * @throws {Error} If the native library is damaged or of another version, or its threads cannot be
 * started.
 *
 * @example
 * ```ts ignore
 * import { openWorld } from "@descent/sgd/mpi";
 *
 * using world = openWorld();
 * const losses = world.sum(new Float64Array([0.5]));
 * if (world.rank === 0) console.log(losses[0] / world.size); // 0.5
 * ```
 *
 * @category World
 */
export function openWorld(options: WorldOptions = {}): World {
  checkObject("open the world", options);
  checkKnown(options, ["library", "timeout"]);
  const { library = "", timeout = TIMEOUT } = options;
  checkString("set library", library);
  checkNumber("timeout", timeout, POSITIVE);
  registerTogether(Together);
  return createWorld(openLink(library, timeout));
}
