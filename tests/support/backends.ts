/** The backends that this machine can test, for tests that are crossed with all of them. */

import type { BackendName } from "@descent/sgd";
import { openLibrary } from "../../src/native/library.ts";

const library = openLibrary();

/** Why the native backend is not available here, or null if it is. A broken library is an error. */
export const cpuMissing: string | null = "reason" in library ? library.reason : null;

/** Registers a test once per backend; a missing one is reported as ignored, with the reason. */
export function testOnBackends(name: string, body: (backend: BackendName) => void): void {
  Deno.test(`js: ${name}`, () => body("js"));
  Deno.test({
    name: cpuMissing === null ? `cpu: ${name}` : `cpu: ${name} (skipped: ${cpuMissing})`,
    ignore: cpuMissing !== null,
    fn: () => body("cpu"),
  });
}
