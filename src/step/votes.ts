/** Steps by majority vote: what they need, and how the norms of the ranks become one. */

import type { Backend } from "../backends/backend.ts";
import { normsOf } from "../backends/norms.ts";
import type { Exchange } from "../core/exchange.ts";
import type { Hyperparameters } from "../core/hyperparameters.ts";
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
 * Measures the gradients of all ranks: the mean of their sums of squares, which all ranks get, and
 * whether those of one are not finite.
 *
 * @returns What `Backend.norm` does.
 */
export function measureRanks(
  exchange: Exchange,
  backend: Backend,
  plan: Plan,
  inverseScale: number,
): Float64Array<ArrayBuffer> {
  const sums = sumsOf(plan);
  normsOf(backend).norm(plan, { inverseScale, normType: 2 }, sums);
  exchange.sum(sums);
  for (let i = 0; i < sums.length; i += 2) sums[i] /= exchange.size;
  return sums;
}

/** A text that rank 0 draws for all ranks, by which the files of one save are known. */
export function drawSave(exchange: Exchange): string {
  const drawn = Float64Array.of(exchange.rank === 0 ? Math.floor(Math.random() * 2 ** 53) : 0);
  exchange.sum(drawn);
  return drawn[0].toString(16);
}
