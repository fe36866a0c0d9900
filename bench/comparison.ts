/** Compares measured rows with a baseline. */

import { formatNumber, formatTable } from "./text.ts";

/** What a row has to have to be compared. */
export interface Compared {
  readonly row: string;
  /** What its time is divided by. */
  readonly reference: string;
  /** Its time over that of the reference, of the same run: a slower machine slows both. */
  readonly ratio: number;
}

/** A row that is in both, with another ratio. */
export interface Change {
  readonly row: string;
  readonly before: number;
  readonly now: number;
}

/** How a run differs from a baseline. */
export interface Comparison {
  /** Rows whose ratio grew by more than the tolerance. */
  readonly worse: readonly Change[];
  /** Rows whose ratio fell by more than the tolerance. */
  readonly better: readonly Change[];
  /** How many rows stayed within the tolerance. */
  readonly same: number;
  /** Rows of the baseline that were not measured, or against another reference. */
  readonly missing: readonly string[];
  /** Rows that the baseline does not have, or has against another reference. */
  readonly added: readonly string[];
}

/**
 * Compares rows by their ratio.
 *
 * @param tolerance The share by which a ratio may change: 0.25 lets 1.0 become 1.25, or 0.8.
 */
export function compare(
  baseline: readonly Compared[],
  measured: readonly Compared[],
  tolerance: number,
): Comparison {
  const before = new Map(baseline.map((figure) => [keyOf(figure), figure]));
  const now = new Set(measured.map(keyOf));
  const changes = measured.flatMap((figure): Change[] => {
    const old = before.get(keyOf(figure));
    return old === undefined ? [] : [{ row: figure.row, before: old.ratio, now: figure.ratio }];
  });
  // Asked this way round, a ratio that is not a number is a row that got worse.
  const worse = changes.filter(({ before, now }) => !(now <= before * (1 + tolerance)));
  const better = changes.filter(({ before, now }) => now * (1 + tolerance) < before);
  return {
    worse,
    better,
    same: changes.length - worse.length - better.length,
    missing: baseline.filter((figure) => !now.has(keyOf(figure))).map(({ row }) => row),
    added: measured.filter((figure) => !before.has(keyOf(figure))).map(({ row }) => row),
  };
}

/** Whether a run is not worse than its baseline: nothing slower, and nothing left out. */
export function passes({ worse, missing }: Comparison): boolean {
  return worse.length === 0 && missing.length === 0;
}

/** What differs, one line per row. */
export function describe(comparison: Comparison, tolerance: number): string {
  const { worse, better, same, missing, added } = comparison;
  const change = (verdict: string) => ({ row, before, now }: Change) =>
    `${verdict} ${row}: ${before.toPrecision(3)} -> ${now.toPrecision(3)} ` +
    `times the reference (${(100 * (now / before - 1)).toFixed(0)} %)`;
  return [
    ...better.map(change("better ")),
    ...added.map((row) => `new     ${row}`),
    ...missing.map((row) => `missing ${row}`),
    ...worse.map(change("WORSE  ")),
    `${same} rows within ${100 * tolerance} % of the baseline, ${better.length} better, ` +
    `${worse.length} worse, ${missing.length} missing, ${added.length} new`,
  ].join("\n");
}

/** All rows of both as a table in Markdown: what changed most for the worse comes first. */
export function formatComparison(
  baseline: readonly Compared[],
  measured: readonly Compared[],
  tolerance: number,
): string {
  const { worse, better, missing, added } = compare(baseline, measured, tolerance);
  const before = new Map(baseline.map((figure) => [keyOf(figure), figure.ratio]));
  const of = (changes: readonly Change[], row: string) => changes.some((c) => c.row === row);
  const rows = measured.map((figure) => {
    const { row, ratio, reference } = figure;
    const old = before.get(keyOf(figure));
    const verdict = of(worse, row) ? "**worse**" : of(better, row) ? "better" : "";
    if (old === undefined) {
      return { growth: 0, cells: [row, reference, "-", formatNumber(ratio), "-", "new"] };
    }
    const percent = `${ratio > old ? "+" : ""}${(100 * (ratio / old - 1)).toFixed(0)} %`;
    const cells = [row, reference, formatNumber(old), formatNumber(ratio), percent, verdict];
    return { growth: ratio / old, cells };
  }).sort((a, b) => b.growth - a.growth);
  const head = [
    ...["row", "reference", "times the reference's before (less is better)", "now"],
    ...["change (less is better)", `beyond ${Number((100 * tolerance).toFixed(1))} %`],
  ];
  const gone = missing.map((row) => [row, "", "", "-", "-", "**missing**"]);
  return `${formatTable(head, [...gone, ...rows.map(({ cells }) => cells)])}\n\n` +
    `${worse.length} worse, ${better.length} better, ${missing.length} missing, ` +
    `${added.length} new.`;
}

function keyOf({ row, reference }: Compared): string {
  return `${row} / ${reference}`;
}
