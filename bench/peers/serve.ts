/** The side of a program that is measured: it takes one timed sample whenever it is asked for one. */

import { batchSize, timeBatch, timeBatchAsync } from "../sampler.ts";

/** What a program says when it can be asked. */
export interface Ready {
  /** What it can be asked for. */
  readonly runs: readonly string[];
  /** Versions, for the record; may be empty. */
  readonly about: string;
}

/**
 * How long the programs warm up, and how long a sample takes, about: many steps of a small model,
 * as a system may leave the threads of a program that slept on one core for the first of them.
 */
const EFFORT = { warmMs: 300, sampleMs: 100 };

/** The share of a sample that runs untimed before it. */
const LEAD = 0.2;

/** Calls until a run that is awaited is warm. */
const WARM_CALLS = 20;

/**
 * Answers each line on the standard input, the name of a run, with nanoseconds per call on the
 * standard output, until the input ends. The first line out is a `Ready`. Of `asyncRuns` each call is
 * awaited before the next.
 */
export async function serve(
  runs: Readonly<Record<string, () => void>>,
  about: string,
  asyncRuns: Readonly<Record<string, () => Promise<unknown>>> = {},
) {
  const sizes = new Map<string, number>();
  for (const [name, run] of Object.entries(runs)) sizes.set(name, batchSize(run, EFFORT));
  for (const [name, run] of Object.entries(asyncRuns)) {
    await timeBatchAsync(run, WARM_CALLS);
    const ns = await timeBatchAsync(run, WARM_CALLS);
    sizes.set(name, Math.ceil(EFFORT.sampleMs * 1e6 / ns));
  }
  const time = (name: string, calls: number) =>
    name in runs ? timeBatch(runs[name], calls) : timeBatchAsync(asyncRuns[name], calls);
  const ready: Ready = { runs: [...sizes.keys()], about };
  console.log(JSON.stringify(ready));
  for await (const name of lines(Deno.stdin.readable)) {
    const calls = sizes.get(name)!;
    await time(name, Math.ceil(LEAD * calls));
    console.log(await time(name, calls));
  }
}

/** The lines of a stream of text. */
export async function* lines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}
