/**
 * FlashOptim's momentum in 8 bits (Databricks, 2026), simulated: groups of 32 elements with a float16
 * scale each, companded before they are rounded to int8.
 *
 * With m the largest magnitude of a group, an element x becomes y = 2 x / (|x| + m), which spreads
 * small elements, and the code floor(127 y + 1/2). The way back is m y / (2 - |y|), with m rounded to
 * float16. As FlashOptim 0.1.4 does, all of it is computed in float32 and m is at least 1e-12.
 */

/** Elements that share a scale. */
export const GROUP = 32;

const SMALLEST = Math.fround(1e-12);
const { abs, floor, fround, max, min } = Math;

/** Values in the format: a code for each element, a float16 scale for each group. */
export interface Companded {
  readonly codes: Int8Array;
  readonly scales: Float16Array;
}

/** Room for so many elements. */
export function createCompanded(length: number): Companded {
  return {
    codes: new Int8Array(length),
    scales: new Float16Array(Math.ceil(length / GROUP)),
  };
}

/** Encodes values. */
export function compand(x: Float32Array, { codes, scales }: Companded): void {
  for (let from = 0, group = 0; from < x.length; from += GROUP, group++) {
    const end = min(from + GROUP, x.length);
    let largest = SMALLEST;
    for (let i = from; i < end; i++) largest = max(largest, abs(x[i]));
    scales[group] = largest;
    for (let i = from; i < end; i++) {
      const share = fround(x[i] / largest);
      const y = fround(2 * share / fround(1 + abs(share)));
      codes[i] = floor(fround(fround(y * 127) + 0.5));
    }
  }
}

/** Decodes values. */
export function expand({ codes, scales }: Companded, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) {
    const y = fround(codes[i] / 127);
    out[i] = fround(y / fround(2 - abs(y))) * scales[floor(i / GROUP)];
  }
}
