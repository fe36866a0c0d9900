/** Samples of all runs of all jobs, in turn. */

import type { Job } from "./jobs.ts";
import { TINY } from "./rows.ts";

/** The samples of a row. */
export interface Samples {
  /** The job. */
  readonly job: string;
  /** Its run. */
  readonly run: string;
  /** Nanoseconds of a step. */
  readonly times: number[];
  /** Bytes that the first machine has sent, in all. */
  sent: number;
}

/** The cable that ranks are measured over. */
export interface Cable {
  /** How many bytes have gone one way. */
  readonly sentBytes: () => number;
  /** How many a sample of a whole tensor sends at least. */
  readonly least: number;
}

/** Takes so many of each row; throws if the cable does not carry what the ranks exchange. */
export async function takeSamples(
  jobs: readonly Job[],
  rounds: number,
  cable: Cable | null = null,
): Promise<Samples[]> {
  const all = jobs.flatMap((job) =>
    job.ready.runs.map((run): Samples => ({ job: job.name, run, times: [], sent: 0 }))
  );
  for (let round = 0; round < rounds; round++) {
    for (const own of all) {
      const before = cable?.sentBytes() ?? 0;
      own.times.push(await jobs.find(({ name }) => name === own.job)!.sample(own.run));
      if (cable === null) continue;
      const sent = cable.sentBytes() - before;
      own.sent += sent;
      if (sent < (TINY.includes(own.run) ? 64 : cable.least)) {
        throw new Error(
          `Cannot measure ${own.job}: ${own.run} over the cable as it has carried ${sent} bytes`,
        );
      }
    }
  }
  for (const job of jobs) await job.close();
  return all;
}
