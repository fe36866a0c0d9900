/**
 * Stands for the `cpu` backend in bundles for browsers, which have no native libraries: the npm
 * package says so to bundlers, and finding and calling a library is then not in the bundle.
 */

import type { Absent } from "../native/library.ts";

/** Why there is no backend. */
export function openCpu(): Absent {
  return {
    reason: "the native library needs Deno, Node.js or Bun: use the js backend here",
    isFault: false,
  };
}
