/** Figures as people read them. */

import { cpus } from "node:os";
import { isBusy, type Quietness } from "./load.ts";
import type { Figure } from "./measure.ts";

/** What follows the name of a row whose figures are not to be relied on. */
const BUSY = " (busy)";

/** A time in the unit that suits it, with three digits. */
export function formatTime(ns: number): string {
  const units: [number, string][] = [[1e9, "s"], [1e6, "ms"], [1e3, "us"]];
  const [size, unit] = units.find(([size]) => ns >= size) ?? [1, "ns"];
  return `${formatNumber(ns / size)} ${unit}`;
}

/** What a column of times of steps is called. */
export const TIME_OF_A_STEP = "time of a step, ns, us or ms (less is better)";

/** What the first column is called where all others are such times. */
export function withTimes(name: string): string {
  return `${name} (times in ns, us or ms, less is better)`;
}

/** A number with three digits, or more if it has more before the point. */
export function formatNumber(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}

/** A table in Markdown, with its columns aligned; the first column is text, the others numbers. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i].length), 3));
  const pad = (cell: string, i: number) =>
    i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]);
  const line = (cells: readonly string[]) => `| ${cells.map(pad).join(" | ")} |`;
  const rule = widths.map((width, i) =>
    "-".repeat(width - (i === 0 ? 0 : 1)) + (i === 0 ? "" : ":")
  );
  return [line(head), `| ${rule.join(" | ")} |`, ...rows.map(line)].join("\n");
}

/** One line per figure; the headings name units, and which way is better. */
export function formatFigures(figures: readonly Figure[]): string {
  const head = [
    ...["row", TIME_OF_A_STEP, "times the reference's (less is better)"],
    ...["reference", "moved, GB/s (more is better)"],
  ];
  return formatTable(
    head,
    figures.map((figure) => [
      figure.row + (isBusy(figure) ? BUSY : ""),
      formatTime(figure.ns),
      formatNumber(figure.ratio),
      figure.reference,
      formatNumber(figure.throughput),
    ]),
  );
}

/** Whether the machine was quiet enough for the figures, and if not, for which. */
export function describeLoad(figures: readonly Quietness[]): string {
  if (figures.length === 0) return "Nothing was measured.";
  const most = Math.max(0, ...figures.map(({ othersCores }) => othersCores)).toFixed(2);
  const cores = `${most} of ${navigator.hardwareConcurrency} cores`;
  const busy = figures.filter(isBusy);
  if (busy.length === 0) return `The machine was quiet: other programs used at most ${cores}.`;
  const spread = Math.max(...busy.map(({ spread }) => spread));
  return `The machine was too busy for ${busy.length} of ${figures.length} figures, marked${BUSY}: ` +
    `other programs used up to ${cores}, and samples spread by up to ` +
    `${(100 * spread).toFixed(0)} %. Measure them again when it is quiet.`;
}

/** The machine, as far as it decides the figures. */
export function describeMachine(): string {
  const cores = cpus();
  return `${cores[0]?.model.trim() ?? Deno.build.arch}, ${cores.length} cores, ${Deno.build.os}`;
}

/** Today, as 2025-12-31. */
export function today(): string {
  return new Date().toISOString().slice(0, 10);
}
