/**
 * Saves tensors to a path in a loop, for tests that kill it: `saver.ts PATH`. Every value of save number n
 * is n; the numbers that are safely on disk are printed.
 */

import { saveTensors } from "@descent/sgd/safetensors";

const path = process.argv[2];
const first = Number(process.argv[3]);

for (let n = first;; n++) {
  const tensors = Object.fromEntries(
    [200_000, 3, 50_000].map((length, i) => [`t${i}`, { data: new Float32Array(length).fill(n) }]),
  );
  await saveTensors(path, tensors, { metadata: { n: String(n) } });
  console.log(n);
}
