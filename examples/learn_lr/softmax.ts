/** Softmax regression on images, with first and second derivatives of its loss, in float64. */

import { CLASSES, PIXELS } from "../digits/dataset.ts";
import type { Dataset } from "../digits/dataset.ts";

type Vector = Float64Array<ArrayBuffer>;

/** Elements of the weights, [PIXELS, CLASSES]. */
export const WEIGHTS = PIXELS * CLASSES;

/** The mean cross-entropy over some images, in nats. */
export function lossOf(weights: Vector, data: Dataset): number {
  let loss = 0;
  for (let row = 0; row < data.length; row++) {
    loss -= Math.log(probabilities(weights, data, row)[data.labels[row]]);
  }
  return loss / data.length;
}

/** Its gradient by the weights. */
export function gradientOf(weights: Vector, data: Dataset): Vector {
  const out = new Float64Array(WEIGHTS);
  for (let row = 0; row < data.length; row++) {
    const slopes = probabilities(weights, data, row);
    slopes[data.labels[row]] -= 1;
    addOuter(out, data, row, slopes);
  }
  return out;
}

/** Its second derivative times a vector: how the gradient changes along `direction`. */
export function curvatureAlong(weights: Vector, data: Dataset, direction: Vector): Vector {
  const out = new Float64Array(WEIGHTS);
  for (let row = 0; row < data.length; row++) {
    const p = probabilities(weights, data, row);
    const change = scores(direction, data, row);
    const mean = p.reduce((sum, share, k) => sum + share * change[k], 0);
    addOuter(out, data, row, p.map((share, k) => share * (change[k] - mean)));
  }
  return out;
}

/** x W */
function scores(weights: Vector, { images }: Dataset, row: number): Vector {
  const out = new Float64Array(CLASSES);
  for (let i = 0, k = 0; i < PIXELS; i++) {
    const pixel = images[row * PIXELS + i];
    for (let j = 0; j < CLASSES; j++, k++) out[j] += pixel * weights[k];
  }
  return out;
}

function probabilities(weights: Vector, data: Dataset, row: number): Vector {
  const out = scores(weights, data, row);
  const max = out.reduce((a, b) => Math.max(a, b));
  for (let k = 0; k < CLASSES; k++) out[k] = Math.exp(out[k] - max);
  const sum = out.reduce((a, b) => a + b);
  return out.map((x) => x / sum);
}

/** out <- out + x^T slopes / images */
function addOuter(out: Vector, { images, length }: Dataset, row: number, slopes: Vector): void {
  for (let i = 0, k = 0; i < PIXELS; i++) {
    const pixel = images[row * PIXELS + i] / length;
    for (let j = 0; j < CLASSES; j++, k++) out[k] += pixel * slopes[j];
  }
}
