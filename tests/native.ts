/** Whether the tests of the native library can run. */

import { openLibrary } from "../src/native/library.ts";

const library = openLibrary();

/** Why there is no native library, or undefined if there is one. */
export const absence: string | undefined = "reason" in library ? library.reason : undefined;

/** A test that needs the native library: without one it is ignored, and its name says why. */
export function nativeTest(name: string, fn: () => void | Promise<void>): void {
  const ignore = absence !== undefined;
  Deno.test({ name: ignore ? `${name} (not tested, as ${absence})` : name, ignore, fn });
}
