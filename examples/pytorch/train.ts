/**
 * Takes steps with Descent and saves a checkpoint that torch can resume from.
 *
 *     deno run --allow-read --allow-write --allow-ffi --allow-env train.ts TO STEPS [FROM]
 *
 * FROM is a checkpoint to resume from; without one, training starts from scratch. train.py does the same
 * with torch, and each can resume what the other has stopped.
 */

import { loadState, saveState, SGD } from "@descent/sgd";
import type { Parameter } from "@descent/sgd";

const [to, steps, from] = Deno.args;
const params: Parameter[] = [
  { data: new Float32Array(12).fill(1), grad: null, name: "layer.weight", shape: [4, 3] },
  { data: new Float32Array(3).fill(1), grad: null, name: "layer.bias", shape: [3] },
];
const optimizer = new SGD(params, {
  lr: 0.1,
  momentum: 0.9,
  weightDecay: 0.01,
  nesterov: true,
  foreach: false,
});

let first = 0;
if (from !== undefined) {
  const dict = await loadState(from);
  optimizer.loadStateDict(dict, { parameters: true });
  first = Number(dict.metadata!.step);
}
const last = first + Number(steps);
for (let step = first; step < last; step++) {
  for (const parameter of params) {
    // Half the parameter and some noise that is a multiple of 1/8.
    parameter.grad = parameter.data.map((p, k) => p / 2 + ((step * 37 + k * 11) % 17 - 8) / 8);
  }
  optimizer.step();
}
await saveState(to, optimizer, { parameters: true, metadata: { step: String(last) } });
console.log(`Descent, step ${last}: ${await digest()}`);

/** A hash of every bit of the parameters and momentum buffers. */
async function digest(): Promise<string> {
  const arrays = params.flatMap((p) => [p.data, optimizer.state.get(p)!.momentumBuffer!]);
  const bytes = await new Blob(arrays as BlobPart[]).bytes();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
