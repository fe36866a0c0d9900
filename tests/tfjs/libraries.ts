/** Fetches TensorFlow.js for tests, with one of its backends. */

import type { DescentOptimizerConstructor } from "@descent/sgd/tfjs";
import { DescentOptimizer } from "@descent/sgd/tfjs";

/** The types of tfjs; they are erased, so that nothing is fetched for them at run time. */
export type Tf = typeof import("npm:@tensorflow/tfjs@4.22.0");

const PACKAGES = {
  cpu: [],
  wasm: ["@tensorflow/tfjs-backend-wasm@4.22.0"],
  webgpu: ["@tensorflow/tfjs-backend-webgpu@4.22.0"],
} as const;

export type BackendName = keyof typeof PACKAGES;

/** tfjs, or why it cannot be had. */
async function fetchTf(): Promise<Tf | string> {
  try {
    return await import("npm:@tensorflow/tfjs@4.22.0" as string) as Tf;
  } catch (error) {
    return `@tensorflow/tfjs cannot be fetched: ${(error as Error).message.split("\n")[0]}`;
  }
}

/** Why a backend cannot be used; null if it can. */
async function fetchBackend(tf: Tf, name: BackendName): Promise<string | null> {
  try {
    for (const each of PACKAGES[name]) await import(`npm:${each}`);
    return await tf.setBackend(name) ? null : `tfjs cannot start its backend ${name} here`;
  } catch (error) {
    return `the backend ${name} cannot be fetched: ${(error as Error).message.split("\n")[0]}`;
  }
}

const fetched = await fetchTf();

/** Defines a test for a backend, which is skipped where its packages cannot be fetched. */
export async function testOn(
  backend: BackendName,
  name: string,
  body: (tf: Tf) => Promise<void> | void,
): Promise<void> {
  const problem = typeof fetched === "string" ? fetched : await fetchBackend(fetched, backend);
  const title = `tfjs on ${backend}: ${name}`;
  Deno.test({
    name: problem === null ? title : `${title} (skipped: ${problem})`,
    ignore: problem !== null,
    sanitizeOps: false, // tfjs keeps timers, workers and devices
    sanitizeResources: false,
    fn: async () => {
      const tf = fetched as Tf;
      await tf.setBackend(backend);
      await body(tf);
    },
  });
}

export { DescentOptimizer };
export type { DescentOptimizerConstructor };
