/** Exchanges of ranks that have met for them, on another thread or on this one. */

import type { Exchange, ExchangeWork, LaterWork, Plans } from "../core/exchange.ts";
import { callRangesOf } from "../plan/parts.ts";
import type { Plan } from "../plan/plan.ts";

/**
 * Meets the other ranks, and does what all have met for: on another thread if there are pins for it. Ranks
 * need not do it alike.
 */
export async function meetFor(
  exchange: Exchange,
  plans: Plans,
  work: ExchangeWork,
  pins: LaterWork["pins"] | null,
): Promise<void> {
  if (pins !== null) return await exchange.later(plans, { ...work, pins });
  exchange.meet(work.what === "apply" ? "complete" : "step", plans);
  const { what, tables, measure, sums, mode } = work;
  if (what === "measure") exchange.measure(tables, measure, sums);
  else exchange[what](tables, mode);
}

/**
 * Arrays on all buffers of a plan, and on the memory of sums; null if there are more than one call can keep
 * alive.
 */
export function pinsOf(
  plan: Plan,
  exchange: Exchange,
  sums: ArrayBufferView | null,
): LaterWork["pins"] | null {
  const own = sums === null ? [] : [sums];
  const most = (wanted: number) => exchange.maxPins(wanted + own.length) - own.length;
  const ranges = callRangesOf(plan, 0, plan.table.count, most);
  return ranges.length === 1 ? [...ranges[0].pins, ...own] : null;
}
