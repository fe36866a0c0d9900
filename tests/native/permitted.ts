/** The backend that "auto" takes, and what "cpu" says. */

import { SGD } from "@descent/sgd";

const w = { data: new Float32Array(1), grad: null };
for (const backend of ["auto", "cpu"] as const) {
  try {
    console.log(new SGD([w], { lr: 0.1, backend }).backend);
  } catch (error) {
    console.log((error as Error).message);
  }
}
