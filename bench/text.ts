/** Figures as people read them. */

import { cpus } from "node:os";
import type { Figure } from "./measure.ts";

/** A time in the unit that suits it, with three digits. */
export function formatTime(ns: number): string {
  const units: [number, string][] = [[1e9, "s"], [1e6, "ms"], [1e3, "us"]];
  const [size, unit] = units.find(([size]) => ns >= size) ?? [1, "ns"];
  return `${formatNumber(ns / size)} ${unit}`;
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

/** Figures with their throughput next to the roofline's. */
export function formatFigures(figures: readonly Figure[]): string {
  const head = ["row", "step", "GB/s", "roofline GB/s", "share of it", "against"];
  return formatTable(
    head,
    figures.map(({ row, ns, throughput, roofline, reference, ratio }) => [
      row,
      formatTime(ns),
      formatNumber(throughput),
      roofline === null ? "-" : formatNumber(roofline),
      reference === "roofline" ? `${(100 / ratio).toFixed(0)} %` : "-",
      `${formatNumber(ratio)} x ${reference}`,
    ]),
  );
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
