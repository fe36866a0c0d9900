/** The backends that this machine can test, for tests that are crossed with all of them. */

import { type BackendName, SGD } from "@descent/sgd";

/** Why the native backend cannot be had here, or null if it can. */
export const cpuMissing: string | null = tryCpu();

/** Registers a test once per backend; a missing one is reported as ignored, with the reason. */
export function testOnBackends(name: string, body: (backend: BackendName) => void): void {
  Deno.test(`js: ${name}`, () => body("js"));
  Deno.test({
    name: cpuMissing === null ? `cpu: ${name}` : `cpu: ${name} (skipped: ${cpuMissing})`,
    ignore: cpuMissing !== null,
    fn: () => body("cpu"),
  });
}

function tryCpu(): string | null {
  try {
    new SGD([{ data: new Float32Array(1), grad: null }], { lr: 0, backend: "cpu" });
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
