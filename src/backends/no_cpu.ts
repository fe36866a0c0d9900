/**
 * Stands for the `cpu` backend in bundles for browsers, which have no native libraries: the npm
 * package says so to bundlers, and finding and calling a library is then not in the bundle.
 */

import type { Absent } from "../native/library.ts";
import type { openCpu as open } from "./native_cpu.ts";

/** Why there is no backend. */
export const openCpu: typeof open = (): Absent => ({
  reason: "the native library needs Deno, Node.js or Bun: use the js backend here",
  isFault: false,
});
