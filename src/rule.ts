/**
 * The rule: what one step of SGD does to one element, in TypeScript.
 *
 * With `p` the parameter, `g` its gradient and `b` its momentum buffer:
 *
 * ```text
 * g <- maximize ? -g : g
 * if weightDecay != 0:  g <- fma(weightDecay, p, g)
 * if momentum != 0:
 *     first step of this parameter:  b <- g
 *     later:                         b <- fma(1 - dampening, g, round(momentum * b))
 *     u <- nesterov ? fma(momentum, b, g) : b
 * else u <- g
 * if sign:  u <- (0 < u) - (u < 0)
 * p <- fma(-lr, u, p)
 * ```
 *
 * `fma(a, b, c)` is `round(a * b + c)`. For float32 that is a fused multiply-add but for double
 * rounding (about 1 result in 2^29), because a product of two float32 is exact in float64. For
 * float64 the product is rounded too.
 */

import type { Hyperparameters } from "./options.ts";
import type { FloatArray } from "./parameter.ts";

/** The hyperparameters as factors of the element's type. */
export interface Factors {
  readonly orientation: number;
  readonly weightDecay: number;
  readonly momentum: number;
  readonly blend: number;
  readonly negativeLr: number;
  readonly nesterov: boolean;
  readonly sign: boolean;
}

/** The hyperparameters that the rule reads. */
export type RuleOptions = Omit<Hyperparameters, "foreach" | "differentiable">;

/** Rounds the hyperparameters to the element's type, each once. */
export function factorsOf(h: Readonly<RuleOptions>, round: (value: number) => number): Factors {
  return {
    orientation: h.maximize ? -1 : 1,
    weightDecay: round(h.weightDecay),
    momentum: round(h.momentum),
    blend: round(1 - h.dampening),
    negativeLr: round(-h.lr),
    nesterov: h.nesterov,
    sign: h.sign,
  };
}

/** One step of one tensor. */
export interface Sweep {
  readonly data: FloatArray;
  readonly grad: FloatArray;
  /** Needed if there is momentum. */
  readonly buffer: FloatArray | null;
  /** Whether the buffer has never been written: it is then not read. */
  readonly first: boolean;
}

/** A function that applies the rule to whole tensors of one dtype. */
export type Rule = (sweep: Sweep, f: Factors) => void;

/**
 * Makes the rule for one dtype. Each dtype gets a closure of its own, so that `round` is known to
 * the compiler where it is called.
 */
export function createRule(round: (value: number) => number): Rule {
  return ({ data, grad, buffer, first }, f) => {
    const { orientation, weightDecay, momentum, blend, negativeLr, nesterov, sign } = f;
    const buffered = momentum !== 0 && buffer !== null;
    for (let i = 0; i < data.length; i++) {
      const p = data[i];
      let g = orientation * grad[i];
      if (weightDecay !== 0) g = round(weightDecay * p + g);
      let u = g;
      if (buffered) {
        const b = first ? g : round(blend * g + round(momentum * buffer[i]));
        buffer[i] = b;
        u = nesterov ? round(momentum * b + g) : b;
      }
      if (sign) u = (u > 0 ? 1 : 0) - (u < 0 ? 1 : 0);
      data[i] = round(negativeLr * u + p);
    }
  };
}
