/**
 * A program for Node.js and Bun whose worker ends while it steps. Arguments: how, elements, memory.
 */

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { delay, stepForEver } from "./stepping.ts";
import type { Memory } from "./stepping.ts";

if (isMainThread) await startWorkers();
else await stepInWorker();

async function startWorkers(): Promise<void> {
  const [how, elements, memory] = process.argv.slice(2);
  let errors = 0;
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(process.argv[1], { workerData: { how, elements, memory } });
    const ended = new Promise((resolve) => worker.on("exit", resolve));
    worker.on("error", () => errors++);
    await new Promise((resolve) => worker.on("message", resolve));
    if (how === "terminate") await worker.terminate();
    await ended;
    await delay(20);
  }
  console.log(`main lives, ${errors} errors`);
}

async function stepInWorker(): Promise<void> {
  const { how, elements, memory } = workerData as Record<string, string>;
  stepForEver(Number(elements), memory as Memory);
  await delay(20);
  parentPort!.postMessage("stepping");
  if (how === "exit") process.exit();
  if (how === "throw") setTimeout(() => JSON.parse("{ a broken batch"), 1);
}
