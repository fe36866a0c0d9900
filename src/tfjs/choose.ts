/** Chooses where variables are stepped. */

import { refusal } from "../core/validate.ts";
import type { Tf } from "./api.ts";
import { DeviceCopies } from "./device_copies.ts";
import { DeviceViews } from "./device_views.ts";
import { HostCopies } from "./host_copies.ts";
import { HostViews } from "./host_views.ts";
import type { Memory } from "./memory.ts";
import { createViewer } from "./viewers.ts";

/** The two ways to step variables. */
export type MemoryName = "copy" | "view";

/**
 * Chooses the memory for the backend that tfjs uses.
 *
 * @throws {Error} If `"view"` does not work with the backend or with this version of tfjs.
 */
export function chooseMemory(tf: Tf, name: MemoryName): Memory {
  if (tf.getBackend() === "webgpu") {
    return name === "copy" ? new DeviceCopies(tf) : new DeviceViews(tf);
  }
  return name === "copy" ? new HostCopies(tf) : new HostViews(tf, createViewer(tf));
}

/**
 * Checks that tfjs still uses a backend with that memory.
 *
 * @throws {Error} If not.
 */
export function checkBackend(tf: Tf, memory: Memory, first: string): void {
  const backend = tf.getBackend();
  if (memory.fits(backend)) return;
  const reason = `the backend of tfjs must stay ${first}, on which the optimizer began`;
  throw new Error(refusal("step", reason, backend, "backend"));
}
