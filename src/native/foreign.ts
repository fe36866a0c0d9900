/** Arrays on memory that is not JavaScript's own. */

import { allowed, runtimeName } from "../core/platform.ts";

/** Why this program cannot have any; null if it can. Never prompts. */
export function whyNoForeign(): string | null {
  if (runtimeName() !== "deno") return "of the runtimes only Deno gives programs such memory";
  if (allowed({ name: "ffi" })) return null;
  return "Deno gives programs such memory with --allow-ffi only, without a path";
}

/**
 * A buffer on memory that is never given back.
 *
 * @param address Not null, in memory of at least so many bytes.
 */
export function foreignBuffer(address: bigint, bytes: number): ArrayBuffer {
  return Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, bytes);
}
