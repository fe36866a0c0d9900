/** The side of a program that is measured: it takes one timed sample whenever it is asked for one. */

import { batchSize, timeBatch } from "../sampler.ts";

/** What a program says when it can be asked. */
export interface Ready {
  /** What it can be asked for. */
  readonly runs: readonly string[];
  /** Versions, for the record; may be empty. */
  readonly about: string;
}

/** How long the programs warm up, and how long a sample takes at least. */
export const EFFORT = { warmMs: 300, sampleMs: 10 };

/**
 * Answers each line on the standard input, the name of a run, with nanoseconds per call on the
 * standard output, until the input ends. The first line out is a `Ready`.
 */
export async function serve(
  runs: Readonly<Record<string, () => void>>,
  about: string,
  effort = EFFORT,
) {
  const sizes = new Map<string, number>();
  for (const [name, run] of Object.entries(runs)) sizes.set(name, batchSize(run, effort));
  const ready: Ready = { runs: Object.keys(runs), about };
  console.log(JSON.stringify(ready));
  for await (const name of lines(Deno.stdin.readable)) {
    runs[name](); // wakes the threads that slept while the others were asked
    console.log(timeBatch(runs[name], sizes.get(name)!));
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
