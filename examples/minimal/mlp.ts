/**
 * A network with one hidden layer that learns a sine: gradients by hand, a schedule, clipping.
 *
 *     deno run mlp.ts
 */

import { SGD } from "jsr:@descent/sgd@^0.1.0";
import { cosineAnnealingLR, LRScheduler } from "jsr:@descent/sgd@^0.1.0/schedules";

// Copy from here ----------------------------------------------------------------------------------

const [HIDDEN, EPOCHS] = [32, 300];
const random = createRandom(1);
const xs = Float32Array.from({ length: 200 }, (_, i) => i / 100 - 1);
const ys = xs.map((x) => Math.sin(Math.PI * x));

const w1 = parameter("hidden.weight", HIDDEN, 2);
const b1 = parameter("hidden.bias", HIDDEN, 2);
const w2 = parameter("output.weight", HIDDEN, 0.2);
const b2 = parameter("output.bias", 1, 0);
const optimizer = new SGD([w1, b1, w2, b2], { lr: 0.1, momentum: 0.9, nesterov: true });
const scheduler = new LRScheduler(optimizer, cosineAnnealingLR({ tMax: EPOCHS }));

const hidden = new Float32Array(HIDDEN);
for (let epoch = 1; epoch <= EPOCHS; epoch++) {
  let loss = 0;
  xs.forEach((x, i) => {
    const error = predict(x) - ys[i];
    loss += error ** 2 / xs.length;
    const slope = 2 * error / xs.length; // of the loss with respect to the output
    b2.grad[0] += slope;
    for (let j = 0; j < HIDDEN; j++) {
      w2.grad[j] += slope * hidden[j];
      const before = slope * w2.data[j] * (1 - hidden[j] ** 2); // before tanh
      w1.grad[j] += before * x;
      b1.grad[j] += before;
    }
  });
  optimizer.step({ maxNorm: 1, zeroGrad: true });
  scheduler.step();
  if (epoch % 100 === 0) console.log(`epoch ${epoch}  loss ${loss.toFixed(6)}`);
}

// To here -----------------------------------------------------------------------------------------

console.log(`sin(pi / 2) is about ${predict(0.5).toFixed(2)}`);

/** The output for an input; leaves the hidden activations behind. */
function predict(x: number): number {
  for (let j = 0; j < HIDDEN; j++) hidden[j] = Math.tanh(w1.data[j] * x + b1.data[j]);
  return hidden.reduce((sum, h, j) => sum + h * w2.data[j], b2.data[0]);
}

function parameter(name: string, length: number, scale: number) {
  const data = new Float32Array(length).map(() => scale * (2 * random() - 1));
  return { name, data, grad: new Float32Array(length) };
}

/** Numbers from 0 to 1 (mulberry32): the same seed gives the same numbers. */
function createRandom(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
