/** Measures all programs on one workload, one sample of each in turn. */

import { median, spreadOf } from "../sampler.ts";
import type { Workload } from "../workloads.ts";
import { type Program, type Running, start } from "./programs.ts";

/** What one program took for one workload. */
export interface Result {
  readonly workload: string;
  /** The program, and its mode if it has several. */
  readonly contender: string;
  /** Nanoseconds per step, in every round. */
  readonly samples: readonly number[];
  /** Their median. */
  readonly ns: number;
  /** The distance of the quartiles, as a share of the median. */
  readonly spread: number;
}

/** The results of one workload, and the versions of what was measured. */
export interface Duel {
  readonly results: readonly Result[];
  readonly about: readonly string[];
}

/** How many times as long one takes as another: the median of the rounds' ratios. */
export function ratioOf(a: Result, b: Result): number {
  return median(a.samples.map((ns, round) => ns / b.samples[round]));
}

/** The name under which the roofline is among the results. */
export const ROOFLINE = "roofline";

/** torch's threads keep spinning for some milliseconds after a step; the next one has to wait. */
const PAUSE_MS = 25;

/** Runs all programs at the same time, but lets only one at a time work. */
export async function duel(
  programs: readonly Program[],
  workload: Workload,
  rounds: number,
): Promise<Duel> {
  const running: Running[] = [];
  try {
    for (const program of programs) {
      if (workload.elements > (program.maxElements ?? Infinity)) continue;
      running.push(await start(program, workload));
    }
    const samples = await sampleInTurn(running, rounds);
    return {
      results: [...samples].map(([contender, times]) => ({
        workload: workload.name,
        contender,
        samples: times,
        ns: median(times),
        spread: spreadOf(times),
      })),
      about: running.map(({ ready }) => ready.about),
    };
  } finally {
    for (const program of running) await program.close();
  }
}

async function sampleInTurn(
  running: readonly Running[],
  rounds: number,
): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    for (const program of running) {
      for (const run of program.ready.runs) {
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        const key = nameOf(program.name, run);
        samples.set(key, [...samples.get(key) ?? [], await program.sample(run)]);
      }
    }
  }
  return samples;
}

function nameOf(program: string, run: string): string {
  if (run === ROOFLINE) return ROOFLINE;
  return run === "step" ? program : `${program}, ${run}`;
}
