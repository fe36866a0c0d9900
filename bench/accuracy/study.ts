/** All runs of the study, and the medians over seeds that are shown. */

import { median } from "../sampler.ts";
import type { Job } from "./job.ts";
import { runJobs } from "./pool.ts";
import { REFERENCE, type Scheme, SCHEMES } from "./schemes.ts";
import { type Epoch, type Fading, type Setting, SETTINGS } from "./training.ts";

/** How large the study is. */
export interface Size {
  readonly seeds: number;
  readonly epochs: number;
  /** Steps that momentum has to become 0. */
  readonly fade: number;
}

/** The runs of a scheme with one setting. */
export interface Outcome {
  readonly scheme: Scheme;
  readonly setting: Setting;
  /** The epochs of each seed. */
  readonly runs: readonly (readonly Epoch[])[];
  /** What became of the momentum of the first seed. */
  readonly fading: Fading;
}

/**
 * Runs all schemes with all settings.
 *
 * @param tell Called with a line about what begins.
 */
export async function runStudy(size: Size, tell: (line: string) => void): Promise<Outcome[]> {
  const kinds = SETTINGS.flatMap((setting) => SCHEMES.map((scheme) => ({ scheme, setting })));
  const jobs = kinds.flatMap((kind) => jobsOf(kind.scheme, kind.setting, size));
  const results = await runJobs(jobs, ({ scheme, setting, seed }) => {
    if (seed === 1) tell(`Training at momentum ${setting.momentum}: ${scheme}`);
  });
  return kinds.map((kind, i) => {
    const own = results.slice(i * size.seeds, (i + 1) * size.seeds);
    return { ...kind, runs: own.map(({ epochs }) => epochs), fading: own[0].fading! };
  });
}

/** The runs of all seeds, of which the first goes on until its momentum is 0. */
function jobsOf(scheme: Scheme, setting: Setting, { seeds, epochs, fade }: Size): Job[] {
  return Array.from({ length: seeds }, (_, i) => ({
    ...{ scheme: scheme.name, setting, seed: i + 1, epochs },
    fade: i === 0 ? fade : null,
  }));
}

/** The median over the seeds of what a run had at the end of each epoch. */
export function curveOf({ runs }: Outcome, value: (epoch: Epoch) => number): number[] {
  return runs[0].map((_, i) => median(runs.map((epochs) => value(epochs[i]))));
}

/** The median over the seeds of what a run ended with. */
export function lastOf(outcome: Outcome, value: (epoch: Epoch) => number): number {
  return curveOf(outcome, value).at(-1)!;
}

/** The float32 runs with the same setting. */
export function referenceOf(outcome: Outcome, outcomes: readonly Outcome[]): Outcome {
  return outcomes.find(({ scheme, setting }) =>
    scheme.name === REFERENCE && setting === outcome.setting
  )!;
}

/**
 * By how much the final losses of each seed differ from float32's of the same seed, relative to that:
 * the differences in ascending order.
 */
export function excessOf(
  outcome: Outcome,
  outcomes: readonly Outcome[],
  loss: "trainLoss" | "testLoss",
): number[] {
  const reference = referenceOf(outcome, outcomes);
  return outcome.runs
    .map((epochs, i) => epochs.at(-1)![loss] / reference.runs[i].at(-1)![loss] - 1)
    .sort((a, b) => a - b);
}
