/** One step as a loop that rounds as a device does: each product and sum, or `fma` once. */

import { addToOdd } from "./exact.ts";
import type { Traits } from "./traits.ts";

/** The hyperparameters of a step. */
export interface Options {
  readonly lr: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly weightDecay?: number;
  readonly nesterov?: boolean;
  readonly maximize?: boolean;
  readonly sign?: boolean;
}

/** What happens to gradients on their way into the rule. */
export interface Preparation {
  readonly inverseScale?: number;
  /** What the device has reported. */
  readonly coefficient?: number;
  readonly maxValue?: number;
}

/** A parameter of the reference. */
export interface Twin {
  readonly data: Float32Array;
  readonly grad: Float32Array;
  /** Null before the first step with momentum. */
  buffer: Float32Array | null;
}

type Fma = (a: number, b: number, c: number) => number;

/** Arithmetic in float32, as a device has it. */
export function arithmeticOf({ rounds, subnormals }: Traits) {
  const flush = subnormals === "kept"
    ? (x: number) => x
    : (x: number) => Math.abs(x) < 2 ** -126 ? 0 * x : x;
  const round = (x: number) => flush(Math.fround(x));
  const mul = (a: number, b: number) => round(flush(a) * flush(b)); // exact before it is rounded
  const fma: Fma = rounds === "twice"
    ? (a, b, c) => round(mul(a, b) + flush(c))
    : (a, b, c) => round(addToOdd(flush(a) * flush(b), flush(c)));
  return { mul, fma };
}

/**
 * Takes a step.
 *
 * @param store Rounds what is stored: to float16 for tensors of float16.
 */
export function stepTwin(
  twin: Twin,
  options: Options,
  traits: Traits,
  { inverseScale = 1, coefficient = 1, maxValue = Infinity }: Preparation = {},
  store: (x: number) => number = Math.fround,
): void {
  const { mul, fma } = arithmeticOf(traits);
  const { momentum = 0, dampening = 0, weightDecay = 0, nesterov, maximize, sign } = options;
  const f = [weightDecay, momentum, 1 - dampening, -options.lr, inverseScale].map(Math.fround);
  const [decay, keep, blend, negativeLr, scale] = f;
  const isFirst = twin.buffer === null;
  if (momentum !== 0) twin.buffer ??= new Float32Array(twin.data.length);
  for (let i = 0; i < twin.data.length; i++) {
    const p = twin.data[i];
    let g = mul(mul(twin.grad[i], scale), Math.fround(coefficient));
    const limit = Math.fround(maxValue);
    if (g > limit) g = limit;
    if (g < -limit) g = -limit;
    if (maximize) g = -g;
    if (weightDecay !== 0) g = fma(decay, p, g);
    let u = g;
    if (momentum !== 0) {
      const b = isFirst ? g : fma(blend, g, mul(keep, twin.buffer![i]));
      twin.buffer![i] = store(b);
      u = nesterov ? fma(keep, b, g) : b;
    }
    if (sign) u = Number(u > 0) - Number(u < 0);
    twin.data[i] = store(fma(negativeLr, u, p));
  }
}
