/** What the study found, as tables in Markdown. */

import { median } from "../sampler.ts";
import { formatTable } from "../text.ts";
import { excessOf, lastOf, type Outcome } from "./study.ts";
import { SETTINGS } from "./training.ts";

/** A table for each setting: what became of the momentum, and the final losses. */
export function formatStudy(outcomes: readonly Outcome[]): string {
  return SETTINGS.map((setting) => {
    const shown = outcomes.filter((outcome) => outcome.setting === setting);
    const title = `Momentum ${setting.momentum}, learning rate ${setting.lr}:`;
    return `${title}\n\n${formatMomentum(shown)}\n\n${formatLosses(shown, outcomes)}`;
  }).join("\n\n");
}

/** The schemes that change the momentum, and float32. */
function formatMomentum(outcomes: readonly Outcome[]): string {
  const head = ["momentum", "bytes of momentum", "gain", "drift", "without gradients"];
  const rows = outcomes
    .filter(({ scheme }, i) => i === 0 || scheme.bytes[0] < 4)
    .map((outcome) => [
      outcome.scheme.name,
      formatBytes(outcome.scheme.bytes[0]),
      lastOf(outcome, ({ gain }) => gain).toFixed(3),
      percent(lastOf(outcome, ({ drift }) => drift)),
      describeFading(outcome),
    ]);
  return formatTable(head, rows);
}

function formatLosses(shown: readonly Outcome[], all: readonly Outcome[]): string {
  const against = "against float32";
  const head = [
    "final loss",
    "bytes of momentum and weights",
    "test",
    against,
    "training",
    against,
  ];
  const rows = shown.map((outcome) => [
    outcome.scheme.name,
    formatBytes(outcome.scheme.bytes[0] + outcome.scheme.bytes[1]),
    lastOf(outcome, ({ testLoss }) => testLoss).toFixed(4),
    formatExcess(excessOf(outcome, all, "testLoss")),
    lastOf(outcome, ({ trainLoss }) => trainLoss).toFixed(4),
    formatExcess(excessOf(outcome, all, "trainLoss")),
  ]);
  return formatTable(head, rows);
}

function describeFading({ fading: { steps, left } }: Outcome): string {
  return `${left === 0 ? "0" : left.toExponential(0)} after ${steps} steps`;
}

/** The median and the range of differences. */
function formatExcess(excess: readonly number[]): string {
  const [middle, low, high] = [median(excess), excess[0], excess.at(-1)!].map(signed);
  return `${middle} % [${low}, ${high}]`;
}

function signed(share: number): string {
  const text = (100 * share).toFixed(1);
  return share < 0 || text === "0.0" ? text.replace("-0.0", "0.0") : `+${text}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function formatBytes(bytes: number): string {
  return String(Number(bytes.toFixed(2)));
}
