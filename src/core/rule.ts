/**
 * The update rule: what one step of SGD does to one element. TypeScript has it only here.
 *
 * With `p` the parameter, `g` its gradient and `b` its momentum buffer:
 *
 * ```text
 * g <- maximize ? -g : g
 * if weightDecay != 0:
 *     decoupledWeightDecay:  p <- round((1 - lr * weightDecay) * p)
 *     else:                  g <- fma(weightDecay, p, g)
 * if momentum != 0:
 *     first step of this parameter:  b <- g
 *     later:                         b <- fma(1 - dampening, g, round(momentum * b))
 *     u <- nesterov ? fma(momentum, b, g) : b
 * else u <- g
 * if sign:  u <- (0 < u) - (u < 0)
 * p <- fma(-lr, u, p)
 * ```
 *
 * The functions are written over an arithmetic, so that the same code steps numbers
 * (`src/backends/js/tiles.ts`) and writes the WebAssembly that steps vectors
 * (`src/backends/js/wasm/kernel.ts`).
 */

import type { Hyperparameters } from "./hyperparameters.ts";

/** The operations on values that the rule uses. */
export interface Arithmetic<V> {
  /** `a * b`, rounded. */
  mul(a: V, b: V): V;
  /** `a * b + c`, rounded once. */
  fma(a: V, b: V, c: V): V;
  /** `(0 < a) - (a < 0)`: +1, -1, or +0 for both zeros and for NaN. */
  sign(a: V): V;
}

/** The hyperparameters that the rule reads. */
export type RuleOptions = Omit<Hyperparameters, "foreach" | "differentiable">;

/** The hyperparameters as factors, rounded to the element's type. */
export interface Factors<V> {
  readonly orientation: V;
  readonly weightDecay: V;
  /** What decoupled weight decay multiplies the parameter by. */
  readonly shrink: V;
  readonly momentum: V;
  readonly blend: V;
  readonly negativeLr: V;
}

/** Which lines of the rule apply. */
export interface Lines {
  /** Coupled weight decay is added to the gradient, decoupled is taken from the parameter. */
  readonly decay: "none" | "coupled" | "decoupled";
  readonly momentum: "none" | "first" | "later";
  readonly nesterov: boolean;
  readonly sign: boolean;
}

/** Rounds the hyperparameters to the element's type, each once. */
export function factorsOf(
  h: Readonly<RuleOptions>,
  round: (value: number) => number,
): Factors<number> {
  return {
    orientation: h.maximize ? -1 : 1,
    weightDecay: round(h.weightDecay),
    shrink: round(1 - h.lr * h.weightDecay),
    momentum: round(h.momentum),
    blend: round(1 - h.dampening),
    negativeLr: round(-h.lr),
  };
}

/** Chooses the lines for a parameter, by whether its momentum buffer has ever been written. */
export function linesOf(h: Readonly<RuleOptions>, first: boolean): Lines {
  return {
    decay: h.weightDecay === 0 ? "none" : h.decoupledWeightDecay ? "decoupled" : "coupled",
    momentum: h.momentum === 0 ? "none" : first ? "first" : "later",
    nesterov: h.nesterov,
    sign: h.sign,
  };
}

/** The parameter with its weight decay, if that is decoupled. */
export function shrink<V>(a: Arithmetic<V>, f: Factors<V>, lines: Lines, p: V): V {
  return lines.decay === "decoupled" ? a.mul(f.shrink, p) : p;
}

/** The gradient with its direction and weight decay, if that is coupled. */
export function gradient<V>(a: Arithmetic<V>, f: Factors<V>, lines: Lines, p: V, g: V): V {
  const directed = a.mul(f.orientation, g); // exact: the factor is 1 or -1
  return lines.decay === "coupled" ? a.fma(f.weightDecay, p, directed) : directed;
}

/** The new momentum buffer; `g` comes from `gradient`, and `b` is not read on a first step. */
export function velocity<V>(a: Arithmetic<V>, f: Factors<V>, lines: Lines, g: V, b: V): V {
  return lines.momentum === "first" ? g : a.fma(f.blend, g, a.mul(f.momentum, b));
}

/**
 * The new parameter; `p` comes from `shrink`, and `b` from `velocity` and is not read without momentum.
 */
export function descend<V>(a: Arithmetic<V>, f: Factors<V>, lines: Lines, p: V, g: V, b: V): V {
  const buffered = lines.momentum === "none" ? g : b;
  const update = lines.nesterov ? a.fma(f.momentum, b, g) : buffered;
  return a.fma(f.negativeLr, lines.sign ? a.sign(update) : update, p);
}
