/** Counts how often a timer runs while steps do, on shared memory and on memory of one's own. */

import { SGD } from "@descent/sgd";

const LENGTH = 4_000_000;

async function countTimers(make: () => Float32Array<ArrayBufferLike>): Promise<number> {
  const w = { data: make(), grad: make() };
  const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9, backend: "cpu" });
  await optimizer.stepAsync();
  let count = 0;
  const timer = setInterval(() => count++, 0);
  for (let i = 0; i < 20; i++) await optimizer.stepAsync();
  clearInterval(timer);
  return count;
}

const shared = await countTimers(() => new Float32Array(new SharedArrayBuffer(4 * LENGTH)));
const own = await countTimers(() => new Float32Array(LENGTH));
console.log(JSON.stringify({ shared, own }));
