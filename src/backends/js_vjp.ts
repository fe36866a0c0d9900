/** The way back through a step on the `js` backend; `kernels/src/vjp/mod.rs` has the formulas. */

import { checkPullbacks } from "../pullback.ts";
import type { HyperGradients, Pullback } from "../pullback.ts";
import { factorsOf, gradient, linesOf, velocity } from "../rule.ts";
import type { RuleOptions } from "../rule.ts";
import { arithmeticOf } from "./arithmetic.ts";

/** Elements of which a partial sum is taken, and its running sums: as in the native library. */
export const CHUNK = 4096;
export const LANES = 8;

/** Goes back through one step of all tensors. */
export function goBack(
  pullbacks: readonly Pullback[],
  h: Readonly<RuleOptions>,
): HyperGradients {
  checkPullbacks(pullbacks);
  const sums = [0, 0, 0, 0];
  for (const pullback of pullbacks) {
    for (let from = 0; from < pullback.param.length; from += CHUNK) {
      const to = Math.min(from + CHUNK, pullback.param.length);
      const lanes = sweep(pullback, h, from, to);
      for (let k = 0; k < sums.length; k++) sums[k] += total(lanes, k * LANES);
    }
  }
  const [lr, momentum, dampening, weightDecay] = sums;
  return { lr, momentum, dampening, weightDecay };
}

/** Adds up running sums in the order in which the native library does. */
function total(lanes: Float64Array, at: number): number {
  const [a, b, c, d, e, f, g, h] = lanes.subarray(at, at + LANES);
  return ((a + b) + (c + d)) + ((e + f) + (g + h));
}

/** Goes back through some elements, and returns the running sums of the four derivatives. */
function sweep(t: Pullback, h: Readonly<RuleOptions>, from: number, to: number): Float64Array {
  const { fma, mul, sign } = arithmeticOf(t.dtype);
  const lines = linesOf(h, t.buffer === null);
  const f = factorsOf(h, t.dtype.round);
  const buffered = lines.momentum !== "none";
  const later = lines.momentum === "later";
  const lanes = new Float64Array(4 * LANES);
  for (let i = from; i < to; i++) {
    const lane = (i - from) % LANES;
    const [p, dq] = [t.param[i], t.paramCotangent[i]];
    // The step once more.
    const g = gradient({ fma, mul, sign }, f, lines, p, t.grad[i]);
    const b = later ? t.buffer![i] : g;
    const c = later ? velocity({ fma, mul, sign }, f, lines, g, b) : g;
    const u = lines.nesterov ? fma(f.momentum, c, g) : c;
    // And back.
    const du = lines.sign ? 0 : mul(f.negativeLr, dq);
    lanes[lane] -= dq * (lines.sign ? sign(u) : u);
    let dg = du;
    if (buffered) {
      const dc = fma(lines.nesterov ? f.momentum : 1, du, t.bufferCotangent![i]);
      const ahead = lines.nesterov ? du : 0;
      dg = fma(later ? f.blend : 1, dc, ahead);
      if (later) t.dBuffer![i] = mul(f.momentum, dc);
      lanes[LANES + lane] += (later ? dc * b : 0) + (lines.nesterov ? du * c : 0);
      if (later) lanes[2 * LANES + lane] -= dc * g;
    }
    lanes[3 * LANES + lane] += dg * p;
    t.dParam[i] = lines.decay ? fma(f.weightDecay, dg, dq) : dq;
    t.dGrad[i] = mul(f.orientation, dg);
  }
  return lanes;
}
