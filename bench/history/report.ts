/** The steps of a history in words. */

import { formatNumber } from "../text.ts";
import type { Step } from "./changes.ts";
import type { Commit } from "./entries.ts";

/** The steps of one commit. */
export interface CommitSteps {
  readonly at: Commit;
  readonly steps: readonly Step[];
}

/** Groups steps by commit, the oldest first. */
export function groupSteps(steps: readonly Step[]): CommitSteps[] {
  return [...Map.groupBy(steps, ({ at }) => at.commit).values()]
    .map((steps) => ({ at: steps[0].at, steps }))
    .sort((a, b) => Date.parse(a.at.date) - Date.parse(b.at.date));
}

/** All steps, each commit with its rows beneath it. */
export function describeSteps(steps: readonly Step[]): string {
  if (steps.length === 0) return "No row changed by more than its noise.";
  return groupSteps(steps).flatMap(({ at, steps }) => [
    describeCommit(at),
    ...steps.map((step) => `  ${step.row}: ${describeStep(step)}`),
  ]).join("\n");
}

/** The commit's hash, day and subject. */
export function describeCommit({ commit, date, subject }: Commit): string {
  return `${commit.slice(0, 7)} ${date.slice(0, 10)} ${subject}`;
}

/** How far a row moved. */
export function describeStep({ before, after, confirmed }: Step): string {
  const percent = `${after > before ? "+" : "-"}${formatPercent(Math.abs(after / before - 1))}`;
  const doubt = confirmed ? "" : ", not confirmed yet";
  return `${formatNumber(before)} -> ${formatNumber(after)} (${percent}${doubt})`;
}

function formatPercent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}
