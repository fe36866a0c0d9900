/** What the rows of a history are called in the chart. */

import type { Series } from "./changes.ts";

/** What most rows have: it is left out of names. */
const USUAL = ["float32", "foreach true"];

/** Parts of a row's name, in the words of the documents. */
const WORDS: Readonly<Record<string, string>> = {
  "momentum8": "8-bit momentum",
  "split": "split master weights",
  "split24": "split24 master weights",
};

/** Whose time a row is divided by, where the name of the reference does not say it. */
const REFERENCES: Readonly<Record<string, string>> = {
  "itself before": "its own before other optimizers stepped (in company)",
};

/** The workload of a row. */
export function workloadOf(row: string): string {
  return row.slice(0, row.indexOf(": "));
}

/** The row within its panel: only what differs from most rows. */
export function labelOf(row: string): string {
  const [backend, ...parts] = row.slice(row.indexOf(": ") + 2).split(", ");
  return [
    backend,
    ...parts.filter((part) => !USUAL.includes(part)).map((part) => WORDS[part] ?? part),
  ]
    .join(", ");
}

/** What a row's step computes, on whichever backend. */
export function settingOf(row: string): string {
  const label = labelOf(row);
  return label.slice(label.indexOf(", ") + 2);
}

/** What the rows of a panel are divided by. */
export function referencesOf(series: readonly Series[]): string {
  const texts = new Set(
    series.map(({ reference }) => REFERENCES[reference] ?? `the ${reference}'s`),
  );
  return [...texts].join(" or ");
}

/** The label of a series; with its reference where the panel has the row against another one too. */
export function legendOf({ row, reference }: Series, panel: readonly Series[]): string {
  const isTwice = panel.filter((one) => one.row === row).length > 1;
  return isTwice ? `${labelOf(row)} / ${reference}` : labelOf(row);
}
