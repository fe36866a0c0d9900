/** Loads a file that saver.ts has saved and prints its number, or the kind of error: `loader.ts PATH`. */

import { loadState } from "@descent/sgd";

try {
  console.log((await loadState(process.argv[2])).metadata!.n);
} catch (error) {
  console.log((error as Error).name);
}
