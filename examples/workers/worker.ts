/** The thread of a worker: in every round it computes the gradients of its shard. */

import { enterRound, leaveRound } from "./barrier.ts";
import { createShard } from "./shard.ts";
import type { ShardData } from "./shard.ts";

/** What a worker is sent once. */
export interface WorkerData extends ShardData {
  readonly words: Int32Array;
}

interface WorkerScope {
  onmessage: (event: MessageEvent<WorkerData>) => void;
  close(): void;
}

const scope = globalThis as unknown as WorkerScope;

scope.onmessage = ({ data }) => {
  const run = createShard(data);
  for (let round = 0;; round++) {
    const range = enterRound(data.words, round);
    if (range === null) return scope.close(); // a thread that waits could not be terminated
    run(range);
    leaveRound(data.words);
  }
};
