/** Times functions in turn, so that a machine that drifts drifts under all of them. */

/** How long to warm up and to measure. */
export interface Effort {
  /** How long a function runs before it is timed, until it is compiled, in milliseconds. */
  readonly warmMs: number;
  /** What one sample takes at least, in milliseconds: short functions are called in batches. */
  readonly sampleMs: number;
  /** What all samples together take, about, in milliseconds. */
  readonly budgetMs: number;
  /** The most rounds, of one sample of every function each. */
  readonly maxRounds: number;
}

/** The effort of a full run. */
export const FULL: Effort = { warmMs: 200, sampleMs: 2, budgetMs: 1000, maxRounds: 25 };

/** The effort of a quick run. */
export const QUICK: Effort = { warmMs: 200, sampleMs: 1, budgetMs: 250, maxRounds: 15 };

const MIN_ROUNDS = 5;

/**
 * Samples functions in turn: first all of them once, then all of them again.
 *
 * @returns Per function and round, nanoseconds per call.
 */
export function sampleInTurn(runs: readonly (() => void)[], effort: Effort): number[][] {
  const batches = runs.map((run) => batchSize(run, effort));
  const samples: number[][] = runs.map(() => []);
  const start = performance.now();
  for (let round = 0; round < effort.maxRounds; round++) {
    if (round >= MIN_ROUNDS && performance.now() - start > effort.budgetMs) break;
    for (const [i, run] of runs.entries()) samples[i].push(timeBatch(run, batches[i]));
  }
  return samples;
}

/** How often to call a function in a sample, found by calling it until it is warm. */
export function batchSize(
  run: () => void,
  { warmMs, sampleMs }: Pick<Effort, "warmMs" | "sampleMs">,
): number {
  const start = performance.now();
  let calls = 1;
  while (true) {
    const ms = timeBatch(run, calls) * calls / 1e6;
    if (ms < sampleMs) calls *= 2;
    else if (performance.now() - start >= warmMs) return Math.ceil(calls * sampleMs / ms);
  }
}

/**
 * Calls a function a number of times.
 *
 * @returns Nanoseconds per call.
 */
export function timeBatch(run: () => void, calls: number): number {
  if (calls > 1) run(); // brings back into the caches what another function's sample put out
  const start = performance.now();
  for (let i = 0; i < calls; i++) run();
  return (performance.now() - start) * 1e6 / calls;
}

/** As `timeBatch`, of calls that are awaited one after the other. */
export async function timeBatchAsync(run: () => Promise<unknown>, calls: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < calls; i++) await run();
  return (performance.now() - start) * 1e6 / calls;
}

/** The value in the middle. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The distance of the quartiles, as a share of the median. */
export function spreadOf(values: readonly number[]): number {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / median(values);
}

/** The value below which this share of the values lies; between two values a mixture of them. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)];
  return low + (at - Math.floor(at)) * (sorted[Math.ceil(at)] - low);
}
