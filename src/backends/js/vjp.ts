/** The way back through a step on the `js` backend; `kernels/src/vjp/mod.rs` has the formulas. */

import { lengthOf } from "../../core/intrinsics.ts";
import { factorsOf, linesOf } from "../../core/rule.ts";
import type { Lines, RuleOptions } from "../../core/rule.ts";
import type { HyperGradients, Pullback } from "../pullback.ts";
import { LANES } from "./loops/float32/back.ts";
import { backLoopOf } from "./loops/back_loops.ts";

/** Elements of which a partial sum is taken: as in the native library. */
export const CHUNK = 4096;

/** Goes back through one step of all tensors. */
export function goBackInTypeScript(
  pullbacks: readonly Pullback[],
  h: Readonly<RuleOptions>,
): HyperGradients {
  const sums = [0, 0, 0, 0];
  const lanes = new Float64Array(sums.length * LANES);
  for (const pullback of pullbacks) {
    const goBack = backLoopOf(pullback.dtype);
    const lines = linesBack(h, pullback.buffer === null);
    const factors = factorsOf(h, pullback.dtype.round);
    const length = lengthOf(pullback.param);
    for (let from = 0; from < length; from += CHUNK) {
      const to = Math.min(from + CHUNK, length);
      goBack(lines, factors, pullback, from, to, lanes);
      for (let k = 0; k < sums.length; k++) sums[k] += total(lanes, k * LANES);
    }
  }
  return finish(h, sums);
}

/**
 * The lines of the step. Decoupled weight decay keeps its form where it is 0, as the derivative with
 * respect to it is computed there, too.
 */
function linesBack(h: Readonly<RuleOptions>, first: boolean): Lines {
  const lines = linesOf(h, first);
  return h.decoupledWeightDecay ? { ...lines, decay: "decoupled" } : lines;
}

/** The derivatives, of the sums over all elements; `kernels/src/vjp/rule.rs` does the same. */
function finish(h: Readonly<RuleOptions>, sums: readonly number[]): HyperGradients {
  const [lr, momentum, dampening, decay] = sums;
  if (!h.decoupledWeightDecay) return { lr, momentum, dampening, weightDecay: decay };
  return {
    lr: h.weightDecay === 0 ? lr : lr - h.weightDecay * decay,
    momentum,
    dampening,
    weightDecay: -h.lr * decay,
  };
}

/** Adds up running sums in the order in which the native library does. */
function total(lanes: Float64Array, at: number): number {
  const pair = (i: number) => lanes[at + i] + lanes[at + i + 1];
  return (pair(0) + pair(2)) + (pair(4) + pair(6));
}
