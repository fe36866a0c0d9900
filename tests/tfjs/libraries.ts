/** Fetches TensorFlow.js for tests, with one of its backends. */

/** The module; its types are erased, and it is fetched at run time, so that tests can be skipped. */
export type Tf = typeof import("@tensorflow/tfjs");

const PACKAGES = {
  cpu: [],
  wasm: ["@tensorflow/tfjs-backend-wasm"],
  webgpu: ["npm:@tensorflow/tfjs-backend-webgpu@4.22.0"],
} as const;

/** The backends of tfjs that tests run on. */
export type TfBackendName = keyof typeof PACKAGES;

/** All of them. */
export const BACKENDS = Object.keys(PACKAGES) as TfBackendName[];

/** Imports a package, or says why it cannot be fetched. */
async function fetchPackage(name: string): Promise<object | string> {
  try {
    return await import(name);
  } catch (error) {
    return `${name} cannot be fetched: ${(error as Error).message.split("\n")[0]}`;
  }
}

const tf = await fetchPackage("@tensorflow/tfjs");

/** Why tests on a backend have to be skipped; null if they can run. */
async function findProblem(backend: TfBackendName): Promise<string | null> {
  if (typeof tf === "string") return tf;
  for (const name of PACKAGES[backend]) {
    const module = await fetchPackage(name);
    if (typeof module === "string") return module;
  }
  if (backend !== "webgpu" || await navigator.gpu?.requestAdapter()) return null;
  return "WebGPU finds no adapter";
}

const problems = {
  cpu: await findProblem("cpu"),
  wasm: await findProblem("wasm"),
  webgpu: await findProblem("webgpu"),
};

/** Defines a test for one backend, which is skipped only if a package cannot be fetched or there is
 * no GPU. */
export function testOn(
  backend: TfBackendName,
  name: string,
  body: (tf: Tf) => Promise<void> | void,
): void {
  const problem = problems[backend];
  const title = `tfjs on ${backend}: ${name}`;
  Deno.test({
    name: problem === null ? title : `${title} (skipped: ${problem})`,
    ignore: problem !== null,
    sanitizeOps: false, // tfjs keeps timers and workers
    sanitizeResources: false,
    fn: async () => {
      const module = tf as Tf;
      if (!await module.setBackend(backend)) throw new Error(`tfjs cannot start ${backend}`);
      await module.ready();
      await body(module);
    },
  });
}

/** Defines a test for each backend and each way to step variables. */
export function testAll(
  name: string,
  body: (tf: Tf, memory: "copy" | "view") => Promise<void> | void,
): void {
  for (const backend of BACKENDS) {
    for (const memory of ["copy", "view"] as const) {
      testOn(backend, `${name}, memory "${memory}"`, (tf) => body(tf, memory));
    }
  }
}
