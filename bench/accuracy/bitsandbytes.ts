/**
 * The 8-bit momentum of bitsandbytes (Dettmers et al., 2021), simulated: blocks of 256 elements that
 * are divided by their largest magnitude and rounded to the nearest of 256 values, its dynamic map.
 */

/** Elements that share a scale. */
export const BLOCK = 256;

/** Decades below 1 that the map covers. */
const DECADES = 7;

/**
 * The dynamic map, ascending. Each decade below 1 has twice the values of the decade below it: 1 in
 * the lowest, 64 in the highest. They are the middles of equal parts of 0.1 to 1, and of both signs.
 * 0 and 1 complete them.
 */
export const DYNAMIC_MAP: Float32Array = createMap();

function createMap(): Float32Array {
  const values = [0, 1];
  for (let decade = 0; decade < DECADES; decade++) {
    const parts = 2 ** decade;
    const unit = 10 ** (decade - DECADES + 1);
    for (let i = 0; i < parts; i++) {
      const middle = unit * (0.1 + 0.9 * (i + 0.5) / parts);
      values.push(middle, -middle);
    }
  }
  return Float32Array.from(values).sort();
}

/** Half-way between neighbors of the map. */
const BORDERS = DYNAMIC_MAP.subarray(1).map((value, i) => (value + DYNAMIC_MAP[i]) / 2);

/** Values in the format: an index into the map for each element, a float32 scale for each block. */
export interface Mapped {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
}

/** Room for so many elements. */
export function createMapped(length: number): Mapped {
  return { codes: new Uint8Array(length), scales: new Float32Array(Math.ceil(length / BLOCK)) };
}

/** Encodes values. */
export function encodeMapped(x: Float32Array, { codes, scales }: Mapped): void {
  for (let from = 0, block = 0; from < x.length; from += BLOCK, block++) {
    const end = Math.min(from + BLOCK, x.length);
    let largest = 0;
    for (let i = from; i < end; i++) largest = Math.max(largest, Math.abs(x[i]));
    scales[block] = largest;
    const inverse = largest === 0 ? 0 : 1 / largest;
    for (let i = from; i < end; i++) codes[i] = nearest(Math.fround(x[i] * inverse));
  }
}

/** The index of the value of the map that is nearest, the lower one of two. */
function nearest(value: number): number {
  let [low, high] = [0, BORDERS.length];
  while (low < high) {
    const middle = low + high >>> 1;
    if (value > BORDERS[middle]) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Decodes values. */
export function decodeMapped({ codes, scales }: Mapped, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) {
    out[i] = DYNAMIC_MAP[codes[i]] * scales[Math.floor(i / BLOCK)];
  }
}
