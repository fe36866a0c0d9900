/** The rows of `bench:bytes` as a table in Markdown. */

import { isBusy, type Quietness } from "../load.ts";
import { ratioOf, type Result } from "../peers/duel.ts";
import { formatNumber, formatTable, formatTime, TIME_OF_A_STEP } from "../text.ts";
import type { Asked, BytesRow } from "./round.ts";

/** A row that was measured, or why it was not. */
export interface Outcome {
  readonly workload: string;
  readonly row: BytesRow;
  readonly measured: Measured | string;
}

/** A ratio and the times that belong to it. */
export interface Measured extends Quietness {
  readonly ns: number;
  readonly ratio: number;
  /** torch's fastest way to do the same. */
  readonly torch: { readonly contender: string; readonly ns: number } | null;
}

/** The ratio of a row, or which contender is missing. */
export function evaluate(
  row: BytesRow,
  results: readonly Result[],
  others: number,
): Measured | string {
  const find = (name: string) => results.find(({ contender }) => contender === name);
  const [own, other] = [find(row.own), find(row.other)];
  if (own === undefined) return `"${row.own}" was not measured`;
  if (other === undefined) return `"${row.other}" was not measured`;
  const torch = results
    .filter(({ contender }) => row.torch?.(contender))
    .sort((a, b) => a.ns - b.ns)
    .at(0);
  return {
    ns: own.ns,
    ratio: row.inverse ? ratioOf(other, own) : ratioOf(own, other),
    torch: torch === undefined ? null : { contender: torch.contender, ns: torch.ns },
    spread: Math.max(own.spread, other.spread),
    othersCores: others,
  };
}

/** Whether a ratio is what is asked for. */
export function isMet(ratio: number, { atMost = Infinity, atLeast = -Infinity }: Asked): boolean {
  return ratio <= atMost && ratio >= atLeast;
}

/** All rows, and beneath them why some could not be measured. */
export function formatOutcomes(outcomes: readonly Outcome[]): string {
  const head = [
    "work",
    TIME_OF_A_STEP,
    "ratio",
    "goal",
    "torch at its fastest",
  ];
  const table = formatTable(head, outcomes.map(formatOutcome));
  const failed = outcomes.filter(({ measured }) => typeof measured === "string");
  const reasons = Map.groupBy(failed, ({ measured }) => measured as string);
  const list = [...reasons].map(([reason, { length }]) =>
    `- ${length} ${length === 1 ? "row" : "rows"}: ${reason}`
  );
  return list.length === 0 ? table : `${table}\n\nUnavailable:\n\n${list.join("\n")}`;
}

function formatOutcome({ workload, row, measured }: Outcome): string[] {
  const asked = row.asked === null ? "-" : formatAsked(row.asked);
  const name = `${workload}: ${row.work}`;
  if (typeof measured === "string") return [name, "-", "unavailable", asked, "-"];
  const { ns, ratio, torch } = measured;
  const verdict = row.asked === null ? "" : isMet(ratio, row.asked) ? ", met" : ", **not met**";
  return [
    name + (isBusy(measured) ? " (busy)" : ""),
    formatTime(ns),
    `${formatNumber(ratio)} ${row.inverse ? "" : "of "}${row.ratio}`,
    asked + verdict,
    torch === null ? "-" : `${formatTime(torch.ns)} (${torch.contender.replace("torch, ", "")})`,
  ];
}

function formatAsked({ atMost, atLeast }: Asked): string {
  return atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`;
}
