/** What is evaluated or shipped of variables: their averages, and their values without any state. */

import { assertEquals, assertThrows } from "@std/assert";
import { saveState, WeightAverage } from "@descent/sgd";
import { loadTensors } from "@descent/sgd/safetensors";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import { testOn } from "./libraries.ts";
import type { Tf } from "./libraries.ts";

/** Defines a test for each backend whose variables are in memory of the host. */
function testOnHosts(
  name: string,
  body: (tf: Tf, memory: "copy" | "view") => Promise<void>,
): void {
  for (const backend of ["cpu", "wasm"] as const) {
    for (const memory of ["copy", "view"] as const) {
      testOn(backend, `${name}, memory "${memory}"`, (tf) => body(tf, memory));
    }
  }
}

testOnHosts("a step averages variables, which can be evaluated so", async (tf, memory) => {
  const a = tf.variable(tf.tensor1d([1, 2]));
  const optimizer = new DescentOptimizer(tf, { lr: 0.25, memory, variables: [a] });
  const average = new WeightAverage(optimizer.sgd!.paramGroups, { decay: "mean" });
  optimizer.stepOptions = { average };
  for (let i = 0; i < 2; i++) optimizer.applyGradients({ [a.name]: a.mul(2) });
  {
    using _ = average.applied();
    optimizer.assignVariables();
    assertEquals([...await a.data()], [0.375, 0.75]); // the mean of [0.5, 1] and [0.25, 0.5]
  }
  optimizer.assignVariables();
  assertEquals([...await a.data()], [0.25, 0.5]);
});

testOn("webgpu", "variables are not averaged", (tf) => {
  const variables = [tf.variable(tf.tensor1d([1, 2]))];
  const { sgd } = new DescentOptimizer(tf, { lr: 0.25, variables });
  const make = () => new WeightAverage(sgd!.paramGroups, { decay: "mean" });
  assertThrows(make, TypeError, "it is on a GPU: average a copy on the host");
});

testOnHosts("weights alone are saved, whatever has become of the state", async (tf, memory) => {
  const a = tf.variable(tf.tensor1d([1, 2]));
  const optimizer = new DescentOptimizer(tf, { lr: 0.5, momentum: 0.5, memory, variables: [a] });
  optimizer.applyGradients({ [a.name]: tf.tensor1d([1, 1]) });
  const sgd = optimizer.sgd!;
  const { momentumBuffer } = sgd.state.get(sgd.paramGroups[0].params[0])!;
  structuredClone(null, { transfer: [(momentumBuffer as Float32Array<ArrayBuffer>).buffer] });
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    await saveState(path, sgd, { state: false, parameters: true });
    const { data } = (await loadTensors(path))[a.name];
    assertEquals([...data], [0.5, 1.5]);
  } finally {
    await Deno.remove(path);
  }
});
