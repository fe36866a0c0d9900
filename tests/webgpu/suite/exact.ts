/** Sums that can be rounded to float32 afterwards as if they had been exact. */

const bits = new DataView(new ArrayBuffer(8));

/**
 * The sum of two numbers of float64, rounded to odd: where it is not exact, its last bit is 1. A second
 * rounding to at most 51 bits is then that of the exact sum.
 */
export function addToOdd(a: number, b: number): number {
  const sum = a + b;
  if (!Number.isFinite(sum)) return sum;
  const from = sum - a; // Knuth's: what b has contributed
  const error = (a - (sum - from)) + (b - from);
  if (error === 0) return sum;
  bits.setFloat64(0, sum);
  const word = bits.getBigInt64(0);
  if ((word & 1n) === 1n) return sum;
  const isAway = (error > 0) === (sum > 0);
  bits.setBigInt64(0, isAway ? word + 1n : word - 1n);
  return bits.getFloat64(0);
}
