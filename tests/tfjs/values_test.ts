/** Whose memory values are in, and what code that writes to `optimizer.sgd` changes. */

import { assertEquals, assertThrows } from "@std/assert";
import { loadState, saveState } from "@descent/sgd";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import { join } from "@std/path/join";
import { testAll, testOn } from "./libraries.ts";
import type { Tf } from "./libraries.ts";

let count = 0;

function variable(tf: Tf, values: number[], shape = [values.length]) {
  return tf.tidy(() => tf.variable(tf.tensor(values, shape), true, `value${count++}`));
}

testAll("parameters that are loaded from a file are those of the variables", async (tf, memory) => {
  const weight = variable(tf, [1, 2, 3, 4], [2, 2]);
  const rows = tf.tensor2d([[1, 1]]);
  const product = async () => [...await tf.matMul(rows, weight as never).data()];
  const gradient = tf.ones([2, 2]);
  const rule = { lr: 1, momentum: 0.5, memory, variables: [weight] };
  const optimizer = new DescentOptimizer(tf, rule);
  const { sgd } = optimizer;
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "run");
    optimizer.applyGradients({ [weight.name]: gradient });
    assertEquals(await product(), [2, 4]);
    const large = tf.zeros([50_000_000]); // the memory of wasm grows, which detaches views
    weight.assign(tf.tensor2d([[5, 6], [7, 8]]));
    await saveState(path, sgd!, { parameters: true });
    large.dispose();
    optimizer.applyGradients({ [weight.name]: gradient });
    optimizer.applyGradients({ [weight.name]: gradient });
    const ahead = await product();
    weight.assign(tf.zeros([2, 2]));
    assertEquals(await product(), [0, 0]);
    sgd!.loadStateDict(await loadState(path), { parameters: true });
    assertEquals(await product(), [12, 14]);
    optimizer.applyGradients({ [weight.name]: gradient });
    optimizer.applyGradients({ [weight.name]: gradient });
    assertEquals(await product(), ahead);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

for (const backend of ["cpu", "wasm"] as const) {
  for (const memory of ["copy", "view"] as const) {
    testOn(backend, `values that code writes are assigned on request, memory "${memory}"`, (tf) => {
      const weight = variable(tf, [1, 2], [2, 1]);
      const product = () => tf.matMul(tf.ones([1, 2]), weight as never).dataSync()[0];
      const optimizer = new DescentOptimizer(tf, { lr: 1, memory, variables: [weight] });
      assertEquals(product(), 3);
      const { data } = optimizer.sgd!.paramGroups[0].params[0];
      data.set([10, 20]);
      optimizer.assignVariables();
      assertEquals(product(), 30);
      optimizer.applyGradients({ [weight.name]: tf.ones([2, 1]) });
      assertEquals(product(), 28);
      const other = variable(tf, [1]);
      optimizer.applyGradients({ [other.name]: tf.ones([1]) });
      other.assign(tf.tensor1d([5]));
      optimizer.assignVariables();
      assertEquals([...other.dataSync()], [5]);
      const gone = variable(tf, [1]);
      optimizer.applyGradients({ [gone.name]: tf.ones([1]) });
      gone.dispose();
      optimizer.assignVariables();
      assertEquals(product(), 28);
      optimizer.dispose();
      assertThrows(() => optimizer.assignVariables(), Error, "the optimizer has been disposed");
    });
  }
}

testAll("an array that tensors are made of stays as it is", async (tf, memory) => {
  const array = new Float32Array([1, 2]);
  const variables = [0, 1].map(() =>
    tf.tidy(() => tf.variable(tf.tensor1d(array), true, `value${count++}`))
  );
  const gradient = tf.tensor1d(new Float32Array([1, 1]));
  const optimizer = new DescentOptimizer(tf, { lr: 0.5, memory });
  const gradients = variables.map(({ name }) => ({ name, tensor: gradient }));
  for (let step = 0; step < 2; step++) optimizer.applyGradients(gradients);
  for (const each of variables) assertEquals([...await each.data()], [0, 1]);
  variables[0].assign(tf.tensor1d(array));
  optimizer.applyGradients(gradients);
  assertEquals(array, new Float32Array([1, 2]));
  assertEquals([...await variables[0].data()], [0.5, 1.5]);
  assertEquals([...await variables[1].data()], [-0.5, 0.5]);
  assertEquals([...await gradient.data()], [1, 1]);
});
