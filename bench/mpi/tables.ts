/** What is measured, as tables. */

import { formatNumber, formatTable, formatTime, TIME_OF_A_STEP, withTimes } from "../text.ts";
import type { Pair } from "./alone.ts";
import type { Memory } from "./memory.ts";
import { median, STEPS, TINY } from "./rows.ts";
import type { Samples } from "./samples.ts";

/** Steps of two ranks, next to torch's; over a cable also what a rank sends. */
export function formatSamples(all: readonly Samples[]): string {
  const yardstick = all.find(({ job }) => job === "torch");
  const isOverCable = all.some(({ sent }) => sent > 0);
  const times = ["row", TIME_OF_A_STEP, "the least", "times as fast as torch (more is better)"];
  return formatTable(
    [...times, ...isOverCable ? ["a rank sends, MB"] : []],
    all.map((samples) => {
      const { job, run, times } = samples;
      const isCompared = yardstick !== undefined && yardstick !== samples && !TINY.includes(run);
      const ratio = isCompared ? formatNumber(median(yardstick.times) / median(times)) : "";
      return [
        `${job}: ${run}`,
        formatTime(median(times)),
        formatTime(Math.min(...times)),
        ratio,
        ...isOverCable ? [TINY.includes(run) ? "" : formatNumber(sentPerStep(samples) / 1e6)] : [],
      ];
    }),
  );
}

function sentPerStep({ sent, times }: Samples): number {
  return sent / times.length / (STEPS + 1);
}

/** Steps of one rank, next to those without a world. */
export function formatPairs(pairs: readonly Pair[]): string {
  return formatTable(
    [withTimes("one rank"), "with a world", "without", "with / without (less is better)"],
    pairs.map(({ what, withWorld, without }) => [
      what,
      formatTime(withWorld),
      formatTime(without),
      (withWorld / without).toFixed(2),
    ]),
  );
}

/** What a step with `"shards"` adds to the memory of a rank. */
export function formatMemory(memories: readonly Memory[], length: number, ranks: number): string {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  const part = 4 * length / ranks;
  return formatTable(
    [
      ...["memory per rank of shards, MB (less is better)", "momentum", "a rank's part of it"],
      ...["the difference", "staging and MPI", "2 MiB", "the difference"],
    ],
    memories.map(({ engine, momentum, staging }) => [
      ...[engine, megabytes(momentum), megabytes(part), megabytes(momentum - part)],
      ...[megabytes(staging), megabytes(STAGING), megabytes(staging - STAGING)],
    ]),
  );
}

/** Bytes of staging that a step is to need. */
const STAGING = 2 * 2 ** 20;
