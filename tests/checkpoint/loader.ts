/** Loads a file that saver.ts has saved and prints its number, or the kind of error: `loader.ts PATH`. */

import { loadState } from "@descent/sgd";

try {
  console.log((await loadState(process.argv[2])).metadata!.n);
} catch (error) {
  const { name, code } = error as { name: string; code?: string };
  console.log(name === "Error" ? `Error ${code}` : name);
}
