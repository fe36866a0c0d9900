/** A worker that says when it is ready, and then answers each job with its result. */

import { type Job, runJob } from "./job.ts";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Job>) => void;
  postMessage: (message: unknown) => void;
};
scope.onmessage = ({ data }) => scope.postMessage(runJob(data));
scope.postMessage("ready");
