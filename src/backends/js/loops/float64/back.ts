// A copy of src/backends/js/loops/float32/back.ts, made by `deno task loops`.

/** The way back through a step, for elements of float64; `kernels/src/vjp.rs` has the formulas. */

import type { Factors, Lines } from "../../../../core/rule.ts";
import type { Pullback } from "../../../pullback.ts";
import { FLOAT64 as a } from "../../arithmetic.ts";
import { gradient, velocity } from "./rule.ts";

type Arrays = { readonly [name in keyof Pullback]: Float64Array };

/** Running sums of each derivative, as in the native library. */
export const LANES = 8;

/** Goes back through some elements, and writes the running sums of the four derivatives. */
export function goBack(
  lines: Lines,
  f: Factors<number>,
  pullback: Pullback,
  from: number,
  to: number,
  lanes: Float64Array,
): void {
  const t = pullback as unknown as Arrays; // those that are null are not touched
  const buffered = lines.momentum !== "none";
  const later = lines.momentum === "later";
  lanes.fill(0);
  for (let i = from; i < to; i++) {
    const lane = (i - from) % LANES;
    const [p, dq] = [t.param[i], t.paramCotangent[i]];
    // Recompute the forward step.
    const g = gradient(a, f, lines, p, t.grad[i]);
    const b = later ? t.buffer[i] : g;
    const c = later ? velocity(a, f, lines, g, b) : g;
    const u = lines.nesterov ? a.fma(f.momentum, c, g) : c;
    // And back.
    const du = lines.sign ? 0 : a.mul(f.negativeLr, dq);
    lanes[lane] -= dq * (lines.sign ? a.sign(u) : u);
    let dg = du;
    if (buffered) {
      const dc = a.fma(lines.nesterov ? f.momentum : 1, du, t.bufferCotangent[i]);
      const ahead = lines.nesterov ? du : 0;
      dg = a.fma(later ? f.blend : 1, dc, ahead);
      if (later) t.dBuffer[i] = a.mul(f.momentum, dc);
      lanes[LANES + lane] += (later ? dc * b : 0) + (lines.nesterov ? du * c : 0);
      if (later) lanes[2 * LANES + lane] -= dc * g;
    }
    lanes[3 * LANES + lane] += dg * p;
    t.dParam[i] = lines.decay === "coupled" ? a.fma(f.weightDecay, dg, dq) : dq;
    t.dGrad[i] = a.mul(f.orientation, dg);
  }
  if (lines.decay === "decoupled") goBackThroughDecay(f, t, from, to, lanes);
}

/** Replaces what depends on decoupled weight decay, which does not depend on the gradient. */
function goBackThroughDecay(
  f: Factors<number>,
  t: Arrays,
  from: number,
  to: number,
  lanes: Float64Array,
): void {
  lanes.fill(0, 3 * LANES);
  for (let i = from; i < to; i++) {
    const dq = t.paramCotangent[i];
    lanes[3 * LANES + (i - from) % LANES] += dq * t.param[i];
    t.dParam[i] = a.mul(f.shrink, dq);
  }
}
