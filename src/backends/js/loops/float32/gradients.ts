/** Loops over gradients of float32, apart from a step. */

/** Running sums of a block, as in the native library. */
export const LANES = 16;

const lanes = new Float64Array(LANES);

/** Multiplies each element; the array rounds the products. */
export function multiply(array: Float32Array, factor: number): void {
  for (let i = 0; i < array.length; i++) array[i] *= factor;
}

/** Adds an array to another of the same length. */
export function add(sum: Float32Array, term: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i] += term[i];
}

/** The sum of a block's squares, in an order that no number of threads changes. */
export function sumSquares(block: Float32Array): number {
  for (let lane = 0; lane < LANES; lane += 4) { // four sums that do not wait for each other
    let [a, b, c, d] = [0, 0, 0, 0];
    let i = lane;
    for (; i + 3 < block.length; i += LANES) {
      a += block[i] * block[i];
      b += block[i + 1] * block[i + 1];
      c += block[i + 2] * block[i + 2];
      d += block[i + 3] * block[i + 3];
    }
    if (i < block.length) a += block[i] * block[i];
    if (i + 1 < block.length) b += block[i + 1] * block[i + 1];
    if (i + 2 < block.length) c += block[i + 2] * block[i + 2];
    lanes[lane] = a;
    lanes[lane + 1] = b;
    lanes[lane + 2] = c;
    lanes[lane + 3] = d;
  }
  return sumLanes();
}

/** The sum of a block's magnitudes, in the same order. */
export function sumMagnitudes(block: Float32Array): number {
  for (let lane = 0; lane < LANES; lane++) {
    let sum = 0;
    for (let i = lane; i < block.length; i += LANES) sum += Math.abs(block[i]);
    lanes[lane] = sum;
  }
  return sumLanes();
}

function sumLanes(): number {
  for (let width = LANES >> 1; width > 0; width >>= 1) {
    for (let i = 0; i < width; i++) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

/** The largest magnitude of a block; NaN if an element is. */
export function findLargest(block: Float32Array): number {
  let most = 0;
  for (let i = 0; i < block.length; i++) {
    const magnitude = Math.abs(block[i]);
    if (magnitude > most || magnitude !== magnitude) most = magnitude;
  }
  return most;
}
