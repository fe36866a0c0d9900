// A copy of src/core/rule.ts, made by `deno task loops`.

import type { Arithmetic, Factors, Lines } from "../../../../core/rule.ts";

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
