/**
 * A program whose workers leave GPUs open. Arguments: how they end, and after how many of them memory
 * and threads are taken down.
 */

import { Worker as NodeWorker } from "node:worker_threads";

const [how, ...counts] = Deno.args;
/** These endings are those of workers as Node.js has them; Deno's own never return by themselves. */
const isNode = how === "return" || how === "exit";
const file = new URL("./isolate.ts", import.meta.url);

async function runNodeWorker(): Promise<void> {
  const worker = new NodeWorker(file, { workerData: how });
  await new Promise((resolve) => worker.on("exit", resolve));
}

async function runWorker(): Promise<void> {
  const worker = new Worker(file, { type: "module", name: how });
  const failed = new Promise<void>((resolve) => {
    worker.onerror = (event) => {
      event.preventDefault();
      resolve();
    };
  });
  await new Promise((resolve) => worker.onmessage = resolve);
  if (how === "throw") await failed;
  else if (how !== "close") worker.terminate();
}

/** What the process takes once its workers are gone: the smallest of some values. */
async function measure(): Promise<{ memory: number; threads: number }> {
  const values: { memory: number; threads: number }[] = [];
  for (let i = 0; i < 10; i++) {
    await new Promise((done) => setTimeout(done, 100));
    const status = await Deno.readTextFile("/proc/self/status");
    const read = (name: string) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, "m"))![1]);
    values.push({ memory: read("VmRSS"), threads: read("Threads") });
  }
  return {
    memory: Math.min(...values.map(({ memory }) => memory)),
    threads: Math.min(...values.map(({ threads }) => threads)),
  };
}

const taken = [];
for (let i = 1; i <= Number(counts.at(-1)); i++) {
  await (isNode ? runNodeWorker() : runWorker());
  await new Promise((done) => setTimeout(done, 20));
  if (counts.includes(String(i))) taken.push(await measure());
}
console.log(JSON.stringify(taken));
