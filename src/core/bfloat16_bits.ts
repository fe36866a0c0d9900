/** The bits of bfloat16: rounding to them, and the numbers that they stand for. */

const float = new Float32Array(1);

const word = new Uint32Array(float.buffer);

/** The bits of the bfloat16 nearest to a number, ties to even; a NaN stays one. */
export function nearestBits(value: number): number {
  float[0] = value;
  const bits = word[0];
  const lower = bits & 0xffff;
  if (lower !== 0x8000 || float[0] === value) return narrowWord(bits);
  // The float32 is half-way between two only because the number was rounded to float32 before.
  return (bits >>> 16) + (Math.abs(value) > Math.abs(float[0]) ? 1 : 0);
}

/** The bits of the bfloat16 nearest to a float32, given its bits; ties to even. */
export function narrowWord(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return bits >>> 16 | 0x40; // NaN, made quiet
  return bits + 0x7fff + (bits >>> 16 & 1) >>> 16;
}

/** The number that bits stand for. */
export function numberOf(bits: number): number {
  word[0] = bits << 16;
  return float[0];
}

/** The nearest bfloat16, ties to even. */
export function roundToBFloat16(value: number): number {
  return numberOf(nearestBits(value));
}
