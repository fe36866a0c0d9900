/** Loads a file, opens it, and prints an element of each, or the kind of error: `loader.ts PATH`. */

import { loadTensors, openTensors } from "@descent/sgd/safetensors";

try {
  const { w } = await loadTensors(process.argv[2]);
  const file = await openTensors(process.argv[2]);
  const { data } = await file.read("w");
  await file.close();
  console.log(w.data[0], data[0]);
} catch (error) {
  const { name, code } = error as { name: string; code?: string };
  console.log(name === "Error" ? `Error ${code}` : name);
}
