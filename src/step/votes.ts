/** Steps by majority vote: what they need, and how the norms of the ranks become one. */

import type { Backend, Measure } from "../backends/backend.ts";
import { normsOf } from "../backends/norms.ts";
import type { Exchange } from "../core/exchange.ts";
import type { Hyperparameters } from "../core/hyperparameters.ts";
import { joinMeasures } from "../core/norm.ts";
import { cannot } from "../core/validate.ts";
import type { Plan } from "../plan/plan.ts";
import { sumsOf } from "./clipping.ts";

/**
 * Refuses groups whose steps do not go by signs.
 *
 * @throws {TypeError} If there is one.
 */
export function checkSigns(doing: string, groups: readonly Pick<Hyperparameters, "sign">[]): void {
  if (groups.every(({ sign }) => sign)) return;
  const reason = 'exchange "signs" needs sign true in every group';
  throw new TypeError(cannot(doing, reason, "one has sign false"));
}

/**
 * Measures the gradients of all ranks, each by itself, and whether those of one are not finite. What norms
 * are made of, sums of squares or of magnitudes, is averaged over the ranks; of largest magnitudes the
 * largest one counts. All ranks get the same.
 *
 * @returns What `Backend.norm` does.
 */
export function measureRanks(
  exchange: Exchange,
  backend: Backend,
  plan: Plan,
  measure: Measure,
): Float64Array<ArrayBuffer> {
  const { normType } = measure;
  const own = sumsOf(plan);
  normsOf(backend).norm(plan, measure, own);
  const all = exchange.gather(own);
  const sums = sumsOf(plan);
  for (let i = 0; i < all.length; i += 2) {
    const at = i % sums.length;
    sums[at] = joinMeasures(normType, sums[at], all[i]);
    sums[at + 1] = Math.max(sums[at + 1], all[i + 1]);
  }
  if (normType === Infinity) return sums;
  for (let i = 0; i < sums.length; i += 2) sums[i] /= exchange.size;
  return sums;
}

/** A text that rank 0 draws for all ranks, by which the files of one save are known. */
export function drawSave(exchange: Exchange): string {
  const drawn = Float64Array.of(exchange.rank === 0 ? Math.floor(Math.random() * 2 ** 53) : 0);
  exchange.sum(drawn);
  return drawn[0].toString(16);
}
