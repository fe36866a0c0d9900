/**
 * Prints as JSON what memory an optimizer takes beyond the caller's arrays. Arguments: the backend,
 * then how many tensors of how many elements, or the name of a workload. Needs --expose-gc.
 */

import { type BackendName, type Parameter, SGD } from "@descent/sgd";
import { collectGarbage, createParameters } from "../memory.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { createWorkload, findWorkload, repeat, type Workload } from "../workloads.ts";

/** Bytes. */
export interface MemoryUse {
  readonly backend: BackendName;
  readonly workload: string;
  readonly tensors: number;
  /** The parameters and gradients. */
  readonly callers: number;
  /** The momentum buffers. */
  readonly buffers: number;
  /** What JavaScript's objects and tables take for good, beyond both. */
  readonly kept: number;
  /** The same at its peak, in which what could have been collected counts too. */
  readonly peak: number;
  /** By how much the process grew at its peak, with what could have been collected; exact to about a megabyte. */
  readonly process: number;
}

const STEPS = 3;

if (import.meta.main) {
  const [backend, ...what] = Deno.args;
  console.log(JSON.stringify(await measureMemory(backend as BackendName, readWorkload(what))));
}

function readWorkload([first, length]: readonly string[]): Workload {
  if (length === undefined) return findWorkload(first);
  return createWorkload(`${first} x ${length}`, repeat(Number(first), [Number(length)]));
}

async function measureMemory(backend: BackendName, workload: Workload): Promise<MemoryUse> {
  const { name, shapes, elements } = workload;
  const parameters = createParameters(workload, "float32");
  for (const { data, grad } of parameters) void [data.buffer, grad!.buffer]; // V8 makes them late
  warmUp(backend);
  await settle();
  const before = { rss: startPeak(), taken: memoryTaken() };
  let peak = 0;
  const optimizer = takeSteps(backend, parameters, STEPS, () => {
    peak = Math.max(peak, memoryTaken());
  });
  const rss = readPeak();
  await settle();
  const kept = memoryTaken();
  optimizer.step(); // keeps it from being collected before
  const buffers = 4 * elements;
  const { momentumBuffer } = optimizer.state.get(parameters[0])!;
  const isInWasm = momentumBuffer!.byteOffset > 0; // behind tiles; V8 does not count such memory
  const counted = isInWasm ? 0 : buffers;
  return {
    ...{ backend, workload: name, tensors: shapes.length, callers: 2 * buffers, buffers },
    kept: kept - before.taken - counted,
    peak: peak - before.taken - counted,
    process: rss - before.rss - buffers,
  };
}

function memoryTaken(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

function takeSteps(
  backend: BackendName,
  parameters: readonly Parameter[],
  steps: number,
  after = () => {},
): SGD {
  const optimizer = new SGD(parameters, { lr: LR, ...MODES[MAIN_MODE], backend });
  after();
  for (let i = 0; i < steps; i++) {
    optimizer.step();
    after();
  }
  return optimizer;
}

/** Compiles the code and starts the threads, which are there once per process. */
function warmUp(backend: BackendName): void {
  const create = (count: number, length: number) =>
    createParameters(createWorkload("", repeat(count, [length])), "float32");
  takeSteps(backend, create(2, 1 << 20), 20);
  takeSteps(backend, create(100, 10), 2000);
  for (let i = 0; i < 30; i++) takeSteps(backend, create(100, 10), 2);
}

/** Memory of arrays is given back by another thread, some time after they have been collected. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Resets the process's peak where the system can, and returns what it takes now. */
function startPeak(): number {
  if (Deno.build.os === "linux") Deno.writeTextFileSync("/proc/self/clear_refs", "5");
  return Deno.memoryUsage().rss;
}

function readPeak(): number {
  if (Deno.build.os !== "linux") return Deno.memoryUsage().rss;
  const status = Deno.readTextFileSync("/proc/self/status");
  return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)![1]);
}
