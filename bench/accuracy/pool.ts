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
      for (const [i, job] of queue) {
        tell(job);
        results[i] = await ask(worker, job);
      }
    } finally {
      worker.terminate();
    }
  };
  const size = Math.min(navigator.hardwareConcurrency, jobs.length);
  await Promise.all(Array.from({ length: size }, work));
  return results;
}

function ask(worker: Worker, job: Job): Promise<JobResult> {
  const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(`Cannot run ${job.scheme}: ${message}`));
  worker.postMessage(job);
  return promise;
}
