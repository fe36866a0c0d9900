/** The lines of `bench/history.jsonl`: what a commit's own benchmark measured on one kind of machine. */

import { isBusy, type Quietness } from "../load.ts";
import { median } from "../sampler.ts";

/** A row of an entry: the median of several runs of the benchmark, and how far they lie apart. */
export interface Measured {
  /** What its time is divided by, in the same run. */
  readonly reference: string;
  /** Its time over the reference's: the median of the runs. Less is better. */
  readonly ratio: number;
  /** The median distance of the runs from that median. */
  readonly deviation: number;
  /** Whether other programs disturbed every run. */
  readonly busy?: true;
}

/** A commit that was measured. */
export interface Commit {
  /** Its hash, of 40 digits. */
  readonly commit: string;
  /** When it was committed, as 2025-12-31T23:59:59+00:00. */
  readonly date: string;
  /** The first line of its message. */
  readonly subject: string;
}

/** One line of the history. A commit may have several, of different rows or processors. */
export interface Entry extends Commit {
  readonly processor: string;
  readonly deno: string;
  /** The day of the measurement. */
  readonly measured: string;
  readonly runs: number;
  /** The text that the measured rows have in their names; "" if all rows were measured. */
  readonly only: string;
  readonly rows: Readonly<Record<string, Measured>>;
}

/** A figure as the benchmark of a commit writes it; those of early commits lack quietness. */
export interface RunFigure extends Partial<Quietness> {
  readonly row: string;
  readonly reference: string;
  readonly ratio: number;
}

/** Reads a history; lines are checked as far as the chart relies on them. */
export function parseHistory(text: string): Entry[] {
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    const entry = parseLine(line, index + 1);
    return [entry];
  });
}

function parseLine(line: string, number: number): Entry {
  let entry: Entry;
  try {
    entry = JSON.parse(line);
  } catch {
    throw new SyntaxError(`Cannot read line ${number} of the history as it is not JSON`);
  }
  const { commit, date, processor, only, rows } = entry ?? {};
  const texts = [commit, date, processor, only];
  if (texts.some((text) => typeof text !== "string") || rows === null || typeof rows !== "object") {
    throw new SyntaxError(
      `Cannot read line ${number} of the history as it lacks commit, date, processor, only or rows`,
    );
  }
  return entry;
}

/** The line of an entry; numbers have four digits. */
export function formatEntry(entry: Entry): string {
  const shorten = (_key: string, value: unknown) =>
    typeof value === "number" ? Number(value.toPrecision(4)) : value;
  return `${JSON.stringify(entry, shorten)}\n`;
}

/** Whether the history has all rows with this text in their names, of this commit and processor. */
export function isMeasured(
  history: readonly Entry[],
  { commit, processor, only }: Pick<Entry, "commit" | "processor" | "only">,
): boolean {
  return history.some((entry) =>
    entry.commit === commit && entry.processor === processor && only.includes(entry.only)
  );
}

/** The processors that a history has figures of, each once. */
export function processorsOf(history: readonly Entry[]): string[] {
  return [...new Set(history.map(({ processor }) => processor))];
}

/** One entry per commit of a processor, the oldest commit first; later lines replace rows of earlier ones. */
export function commitsOf(history: readonly Entry[], processor: string): Entry[] {
  const merged = new Map<string, Entry>();
  for (const entry of history.filter((entry) => entry.processor === processor)) {
    const rows = { ...merged.get(entry.commit)?.rows, ...entry.rows };
    merged.set(entry.commit, { ...entry, rows });
  }
  return [...merged.values()].sort((a, b) => Date.parse(a.date) - Date.parse(b.date));
}

/** Combines the runs of one commit; disturbed ones count only where a row has no others. */
export function combineRuns(runs: readonly (readonly RunFigure[])[]): Record<string, Measured> {
  const byRow = Map.groupBy(runs.flat(), ({ row }) => row);
  return Object.fromEntries([...byRow].map(([row, all]) => [row, combine(all)]));
}

function combine(all: readonly RunFigure[]): Measured {
  const quiet = all.filter(({ othersCores = 0, spread = 0 }) => !isBusy({ othersCores, spread }));
  const figures = quiet.length > 0 ? quiet : all;
  const ratios = figures.map(({ ratio }) => ratio);
  const ratio = median(ratios);
  return {
    reference: figures[0].reference,
    ratio,
    deviation: median(ratios.map((value) => Math.abs(value - ratio))),
    ...(quiet.length > 0 ? {} : { busy: true }),
  };
}
