/** Workers that run the jobs of the study, one per core. */

import type { Job, JobResult } from "./job.ts";

/**
 * Runs jobs, each on whichever worker is free.
 *
 * @param tell Called with each job before it begins.
 * @returns The results, in the order of the jobs.
 */
export async function runJobs(
  jobs: readonly Job[],
  tell: (job: Job) => void,
): Promise<JobResult[]> {
  const results: JobResult[] = Array.from({ length: jobs.length });
  const queue = jobs.entries();
  const work = async () => {
    const worker = new Worker(import.meta.resolve("./worker.ts"), { type: "module" });
    try {
      await answerOf(worker); // what is sent while the images are read is lost
      for (const [i, job] of queue) {
        tell(job);
        worker.postMessage(job);
        results[i] = await answerOf(worker);
      }
    } finally {
      worker.terminate();
    }
  };
  const size = Math.min(navigator.hardwareConcurrency, jobs.length);
  await Promise.all(Array.from({ length: size }, work));
  return results;
}

/** The next message of a worker. */
function answerOf(worker: Worker): Promise<JobResult> {
  const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(`Cannot train in a worker: ${message}`));
  return promise;
}
