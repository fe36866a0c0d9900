/**
 * Prints as JSON what memory an optimizer takes beyond the caller's arrays. Arguments: how many
 * tensors of how many elements, or the name of a workload. Needs --expose-gc.
 */

import { type BackendName, type Parameter, SGD } from "@descent/sgd";
import { collectGarbage, createParameters } from "../memory.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { createWorkload, findWorkload, repeat, type Workload } from "../workloads.ts";

/** Bytes. */
export interface MemoryUse {
  readonly workload: string;
  readonly tensors: number;
  /** The parameters and gradients. */
  readonly callers: number;
  /** The momentum buffers. */
  readonly buffers: number;
  /** By how much the process grew at its peak, beyond the momentum buffers. */
  readonly peak: number;
  /** By how much JavaScript's heap grew for good; array contents are not in it. */
  readonly heap: number;
}

const BACKEND: BackendName = "cpu";
const STEPS = 5;

if (import.meta.main) console.log(JSON.stringify(await measureMemory(readWorkload(Deno.args))));

function readWorkload([first, length]: readonly string[]): Workload {
  if (length === undefined) return findWorkload(first);
  return createWorkload(`${first} x ${length}`, repeat(Number(first), [Number(length)]));
}

async function measureMemory(workload: Workload): Promise<MemoryUse> {
  const { name, shapes, elements } = workload;
  const parameters = createParameters(workload, "float32");
  warmUp();
  await settle();
  const before = { rss: startPeak(), heap: Deno.memoryUsage().heapUsed };
  const optimizer = takeSteps(parameters, STEPS);
  const peak = readPeak();
  await settle();
  const heap = Deno.memoryUsage().heapUsed - before.heap;
  optimizer.step(); // keeps it from being collected before
  const buffers = 4 * elements;
  return {
    ...{ workload: name, tensors: shapes.length, callers: 2 * buffers, buffers },
    peak: peak - before.rss - buffers,
    heap,
  };
}

function takeSteps(parameters: readonly Parameter[], steps: number): SGD {
  const optimizer = new SGD(parameters, { lr: LR, ...MODES[MAIN_MODE], backend: BACKEND });
  for (let i = 0; i < steps; i++) optimizer.step();
  return optimizer;
}

/** Compiles the code and starts the threads, which are there once per process. */
function warmUp(): void {
  takeSteps(createParameters(createWorkload("large", repeat(2, [1 << 20])), "float32"), 20);
  const small = createWorkload("small", repeat(100, [10]));
  takeSteps(createParameters(small, "float32"), 2000);
  for (let i = 0; i < 300; i++) takeSteps(createParameters(small, "float32"), 2);
}

/** Memory of arrays is given back by another thread, some time after they have been collected. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Lets the process's peak begin anew where the system can, and returns what it takes now. */
function startPeak(): number {
  if (Deno.build.os === "linux") Deno.writeTextFileSync("/proc/self/clear_refs", "5");
  return Deno.memoryUsage().rss;
}

function readPeak(): number {
  if (Deno.build.os !== "linux") return Deno.memoryUsage().rss;
  const status = Deno.readTextFileSync("/proc/self/status");
  return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)![1]);
}
