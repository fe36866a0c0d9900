/** Counts how often a timer runs while steps do, on shared memory and on memory of one's own. */

import { SGD } from "@descent/sgd";
import type { StepOptions } from "@descent/sgd";

const LENGTH = 4_000_000;
const WIDTH = 4;

type Make = (length: number) => Float32Array<ArrayBufferLike>;

/** Counts the timers of steps of an optimizer. */
async function countTimers(
  optimizer: Pick<SGD, "stepAsync">,
  options: StepOptions = {},
): Promise<number> {
  await optimizer.stepAsync(options);
  let count = 0;
  const timer = setInterval(() => count++, 0);
  for (let i = 0; i < 20; i++) await optimizer.stepAsync(options);
  clearInterval(timer);
  return count;
}

const OPTIONS = { lr: 0.1, momentum: 0.9, backend: "cpu" } as const;

function createDense(make: Make): SGD {
  return new SGD([{ data: make(LENGTH), grad: make(LENGTH) }], OPTIONS);
}

function createSparse(make: Make): Pick<SGD, "stepAsync"> {
  const shape = [LENGTH / WIDTH, WIDTH] as const;
  const indices = Int32Array.from({ length: shape[0] }, (_, i) => i);
  const grad = { indices, values: make(LENGTH), shape };
  return new SGD([{ data: make(LENGTH), grad, shape }], OPTIONS);
}

const share: Make = (length) => new Float32Array(new SharedArrayBuffer(4 * length));
const own: Make = (length) => new Float32Array(length);

const counts = {
  shared: await countTimers(createDense(share)),
  own: await countTimers(createDense(own)),
  sharedSums: await countTimers(createDense(share), { addGradients: [[share(LENGTH)]] }),
  ownSums: await countTimers(createDense(share), { addGradients: [[own(LENGTH)]] }),
  sparse: await countTimers(createSparse(share)),
};
console.log(JSON.stringify(counts));
