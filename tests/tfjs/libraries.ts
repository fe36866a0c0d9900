/** Fetches TensorFlow.js for tests, with one of its backends. */

/** The module; its types are erased, and it is fetched at run time, so that tests can be skipped. */
export type Tf = typeof import("@tensorflow/tfjs");

const PACKAGES = {
  cpu: [],
  wasm: ["@tensorflow/tfjs-backend-wasm"],
  webgpu: ["@tensorflow/tfjs-backend-webgpu"],
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

/** The packages of a backend that cannot be fetched, as a sentence about the first; null if all can. */
async function findMissing(backend: TfBackendName): Promise<string | null> {
  if (typeof tf === "string") return tf;
  for (const name of PACKAGES[backend]) {
    const module = await fetchPackage(name);
    if (typeof module === "string") return module;
  }
  return null;
}

const missing = {
  cpu: await findMissing("cpu"),
  wasm: await findMissing("wasm"),
  webgpu: await findMissing("webgpu"),
};

/** Why a backend cannot be fetched; null if it can. */
export function notFetched(backend: TfBackendName): string | null {
  return missing[backend];
}

const hasGpu = await navigator.gpu?.requestAdapter() != null;

/** Why tests on a backend have to be skipped; null if they can run. */
function findProblem(backend: TfBackendName): string | null {
  if (missing[backend] !== null || backend !== "webgpu" || hasGpu) return missing[backend];
  return "WebGPU finds no adapter";
}

/** Defines a test for one backend, which is skipped only if a package cannot be fetched or there is
 * no GPU. */
export function testOn(
  backend: TfBackendName,
  name: string,
  body: (tf: Tf) => Promise<void> | void,
): void {
  const problem = findProblem(backend);
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
