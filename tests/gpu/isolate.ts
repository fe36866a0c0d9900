/** A worker that opens a GPU and ends, as its name or its data ask for, without closing it. */

import process from "node:process";
import { workerData } from "node:worker_threads";
import { SGD } from "@descent/sgd";
import { openGpu } from "@descent/sgd/gpu";

const gpu = openGpu();
const [w, g] = [gpu.tensor(500_000), gpu.tensor(500_000)];
const optimizer = new SGD([{ data: w, grad: g }], { lr: 0.1, momentum: 0.9 });
for (let i = 0; i < 3; i++) optimizer.step();

if (workerData === "exit") process.exit(0);
if (workerData !== "return") {
  if (self.name === "a read that is under way") w.read();
  (self as unknown as { postMessage(message: number): void }).postMessage(0);
  if (self.name === "close") self.close();
  if (self.name === "throw") throw new Error("as it should");
}
