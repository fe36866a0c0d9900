/** Optimizers that step without a pause, for programs that end meanwhile. */

import { SGD } from "@descent/sgd";

/** What memory the parameters' data are in. */
export type Memory = "own" | "shared" | "wasm";

/** Elements that step at the same time, so that small steps are under way at any moment too. */
const AT_ONCE = 1_000_000;
const MOST_OPTIMIZERS = 32;

/** Makes data of zeros. */
export function createData(memory: Memory, length: number): Float32Array {
  if (memory === "own") return new Float32Array(length);
  if (memory === "shared") return new Float32Array(new SharedArrayBuffer(4 * length));
  const pages = Math.ceil(4 * length / 65_536);
  return new Float32Array(new WebAssembly.Memory({ initial: pages }).buffer, 0, length);
}

/** Steps parameters of so many elements over and over, some optimizers at a time. */
export function stepForEver(elements: number, memory: Memory = "own"): void {
  const count = Math.min(MOST_OPTIMIZERS, Math.max(1, AT_ONCE / elements));
  for (let i = 0; i < count; i++) stepOne(elements, memory);
}

async function stepOne(elements: number, memory: Memory): Promise<never> {
  const params = [elements - 10, 10].map((n) => ({
    data: createData(memory, n),
    grad: new Float32Array(n).fill(1e-3),
  }));
  const optimizer = new SGD(params, { lr: 0.1, momentum: 0.9, backend: "cpu" });
  for (;;) {
    await optimizer.stepAsync({ maxNorm: 1 });
    if (typeof Deno === "undefined") await delay(0); // steps in one piece let nothing else run
  }
}

/** The same where there is no Descent: timers. */
export async function waitForEver(): Promise<never> {
  for (;;) await delay(1);
}

/** Waits for some milliseconds. */
export function delay(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
