/**
 * Mixed precision: parameters and gradients in bfloat16, master weights in float32, and a `GradScaler` that
 * keeps small gradients from vanishing.
 *
 *     deno run bfloat16.ts
 */

import { BFloat16Array, GradScaler, SGD } from "jsr:@descent/sgd@^0.1.0";

// Copy from here ----------------------------------------------------------------------------------

const [INPUTS, SAMPLES, STEPS] = [16, 256, 300];
const random = createRandom(1);
const { inputs, labels } = makeData();

const weights = {
  name: "weights",
  data: new BFloat16Array(INPUTS), // zeros; the methods of these arrays take and give numbers
  grad: new BFloat16Array(INPUTS),
};
const optimizer = new SGD<BFloat16Array>([weights], {
  lr: 0.5,
  momentum: 0.9,
  masterWeights: true,
});
const scaler = new GradScaler({ growthInterval: 100 });

for (let step = 1; step <= STEPS; step++) {
  const values = weights.data.toFloat32Array(); // the forward pass computes in float32
  const gradient = new Float32Array(INPUTS);
  let loss = 0;
  labels.forEach((label, i) => {
    const score = scoreOf(values, i);
    loss += Math.log1p(Math.exp(label === 1 ? -score : score)) / SAMPLES;
    const slope = scaler.scale((1 / (1 + Math.exp(-score)) - label) / SAMPLES);
    for (let k = 0; k < INPUTS; k++) gradient[k] += slope * inputs[i * INPUTS + k];
  });
  weights.grad.set(gradient); // numbers, which are rounded
  const { skipped } = scaler.step(optimizer, { maxNorm: 1 }); // unscales, checks and clips
  scaler.update();
  if (skipped) console.log(`step ${step} was skipped: the scale was too large`);
  else if (step % 100 === 0) console.log(`step ${step}  loss ${loss.toFixed(4)}`);
}

// To here -----------------------------------------------------------------------------------------

const last = weights.data.toFloat32Array();
const right = labels.filter((label, i) => Number(scoreOf(last, i) > 0) === label).length;
console.log(`accuracy ${(100 * right / SAMPLES).toFixed(1)} %, scale ${scaler.getScale()}`);

function scoreOf(values: Float32Array, sample: number): number {
  let sum = 0;
  for (let k = 0; k < INPUTS; k++) sum += values[k] * inputs[sample * INPUTS + k];
  return sum;
}

/** Points of two classes that a plane divides. */
function makeData(): { inputs: Float32Array; labels: number[] } {
  const plane = Float32Array.from({ length: INPUTS }, () => random() - 0.5);
  const inputs = Float32Array.from({ length: SAMPLES * INPUTS }, () => random() - 0.5);
  const labels = Array.from({ length: SAMPLES }, (_, i) => Number(scoreOf(plane, i) > 0));
  return { inputs, labels };

  function scoreOf(values: Float32Array, sample: number): number {
    return values.reduce((sum, value, k) => sum + value * inputs[sample * INPUTS + k], 0);
  }
}

/** Numbers from 0 to 1: the same seed gives the same numbers (a Lehmer generator). */
function createRandom(seed: number): () => number {
  return () => (seed = seed * 48271 % 0x7fffffff) / 0x7fffffff;
}
