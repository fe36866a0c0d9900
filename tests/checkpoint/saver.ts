/**
 * Saves to a path in a loop, for tests that kill it: `saver.ts PATH [times] [first]`.
 *
 * Save number n is a state whose every value is n, so that a mixture of two saves would show. The
 * numbers that are safely on disk are printed, and the error that ends the loop.
 */

import { saveState } from "@descent/sgd";
import type { StateDict } from "@descent/sgd";

const [path, times = "1000000000", first = "0"] = process.argv.slice(2);
const LENGTHS = [200_000, 3, 50_000];

try {
  for (let n = Number(first); n < Number(first) + Number(times); n++) {
    await saveState(path, stateOf(n));
    console.log(n);
  }
} catch (error) {
  console.log(String(error));
  process.exit(1);
}

function stateOf(n: number): StateDict {
  return {
    state: Object.fromEntries(
      LENGTHS.map((length, i) => [i, { momentum_buffer: new Float32Array(length).fill(n) }]),
    ),
    param_groups: [{ lr: n, momentum: 0.9, dampening: 0, weight_decay: 0, params: [0, 1, 2] }],
    metadata: { n: String(n) },
  };
}
