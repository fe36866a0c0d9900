/** How far a momentum buffer is from the float32 buffer that is fed the same gradients. */

/** A buffer b beside the exact one. */
export interface Deviation {
  /** dot(b, exact) / dot(exact, exact): below 1 if momentum is lost, above 1 if there is too much. */
  readonly gain: number;
  /** norm(b - exact) / norm(exact): all of the difference, the noise of the rounding included. */
  readonly drift: number;
}

/** Compares a buffer with the exact one. */
export function deviationOf(buffer: Float32Array, exact: Float32Array): Deviation {
  let [along, square, difference] = [0, 0, 0];
  for (let i = 0; i < exact.length; i++) {
    along += buffer[i] * exact[i];
    square += exact[i] ** 2;
    difference += (buffer[i] - exact[i]) ** 2;
  }
  return { gain: along / square, drift: Math.sqrt(difference / square) };
}
