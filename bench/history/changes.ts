/**
 * Finds the commits at which a row changed by more than its noise.
 *
 * The noise of a row is the larger of two, and at least 1 %: what the runs of one commit lie apart
 * (the median over commits of the runs' median absolute deviation), and what neighboring commits lie
 * apart (the median of their differences, from six differences on, as most commits change nothing).
 * A commit is a step if its ratio differs from the row's level by more than four times the noise, and
 * the next measured commit confirms it: a single outlier is left out. The level is the median of the
 * first commits since the last step, five at most, so that a slow drift is found as well.
 * Figures that other programs disturbed are left out.
 */

import { median } from "../sampler.ts";
import type { Commit, Entry } from "./entries.ts";

/** A row at one commit. */
export interface Point {
  readonly at: Commit;
  readonly ratio: number;
  readonly deviation: number;
  /** Whether other programs disturbed it: it is shown, and decides nothing. */
  readonly busy: boolean;
}

/** A row against one reference over the commits. */
export interface Series {
  readonly row: string;
  readonly reference: string;
  readonly points: readonly Point[];
}

/** A commit at which a row changed. */
export interface Step {
  readonly row: string;
  readonly at: Commit;
  /** The level that it left. */
  readonly before: number;
  readonly after: number;
  /** False at the newest commit, which no later one confirms. */
  readonly confirmed: boolean;
}

/** How many commits make a level. */
const LEVEL = 5;
const LIMIT = 4;
const LEAST_NOISE = 0.01;
/** Makes a median absolute deviation the standard deviation of normal noise. */
const TO_SIGMA = 1.4826;
/** From so many differences on their median tells the noise from the steps. */
const ENOUGH = 6;

/** The rows of the entries, in the order in which they first appear. */
export function seriesOf(entries: readonly Entry[]): Series[] {
  const all = new Map<string, { row: string; reference: string; points: Point[] }>();
  for (const entry of entries) {
    for (const [row, { reference, ratio, deviation, busy = false }] of Object.entries(entry.rows)) {
      if (!(ratio > 0 && ratio < Infinity)) continue;
      const key = `${row} / ${reference}`;
      if (!all.has(key)) all.set(key, { row, reference, points: [] });
      all.get(key)!.points.push({ at: entry, ratio, deviation, busy });
    }
  }
  return [...all.values()];
}

/** The noise of a row, as a share of its ratio. */
export function noiseOf(points: readonly Point[]): number {
  const ownRuns = points.map(({ deviation, ratio }) => TO_SIGMA * deviation / ratio);
  const differences = points.slice(1).map(({ ratio }, i) =>
    Math.abs(Math.log(ratio / points[i].ratio))
  );
  const between = differences.length < ENOUGH ? 0 : TO_SIGMA * median(differences) / Math.SQRT2;
  return Math.max(LEAST_NOISE, median(ownRuns), between);
}

/** The steps of a row, the oldest first. */
export function findSteps({ row, points: all }: Series): Step[] {
  const points = all.filter(({ busy }) => !busy);
  if (points.length < 2) return [];
  const limit = LIMIT * noiseOf(points);
  const steps: Step[] = [];
  let level = [points[0].ratio];
  for (const [i, { at, ratio }] of points.entries()) {
    if (i === 0) continue;
    const before = median(level);
    const next = points.at(i + 1);
    if (!differs(before, ratio, limit)) {
      if (level.length < LEVEL) level.push(ratio);
    } else if (next === undefined || staysAway(before, ratio, next.ratio, limit)) {
      steps.push({ row, at, before, after: ratio, confirmed: next !== undefined });
      level = [ratio];
    }
  }
  return steps;
}

/** Whether the next ratio differs as well, to the same side. */
function staysAway(before: number, ratio: number, next: number, limit: number): boolean {
  return differs(before, next, limit) && (ratio > before) === (next > before);
}

function differs(before: number, after: number, limit: number): boolean {
  return Math.abs(Math.log(after / before)) > limit;
}
