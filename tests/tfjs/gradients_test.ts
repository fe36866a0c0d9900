/** Gradients that are applied one step at a time: whose they are, and what the step writes. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { WeightAverage } from "@descent/sgd";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import type * as TfTypes from "@tensorflow/tfjs";
import { testAll, testOn } from "./libraries.ts";
import type { Tf } from "./libraries.ts";

let count = 0;

/** A variable with a name of its own. */
function variable(tf: Tf, values: number[], shape = [values.length]) {
  return tf.tidy(() => tf.variable(tf.tensor(values, shape), true, `v${count++}`));
}

async function valuesOf(tensor: TfTypes.Tensor): Promise<number[]> {
  return [...await tensor.data()];
}

testAll("minimize steps all trainable variables, or those that it is given", async (tf, memory) => {
  tf.disposeVariables();
  const [a, b] = [variable(tf, [2]), variable(tf, [3])];
  const optimizer = new DescentOptimizer(tf, { lr: 0.25, memory });
  const loss = () => a.square().add(b.square()).sum() as TfTypes.Scalar;
  assertEquals(optimizer.minimize(loss), null);
  assertEquals([...await valuesOf(a), ...await valuesOf(b)], [1, 1.5]);
  const cost = optimizer.minimize(loss, true, [b]);
  assertEquals(await valuesOf(cost!), [3.25]);
  assertEquals([...await valuesOf(a), ...await valuesOf(b)], [1, 0.75]);
  assertEquals(optimizer.iterations, 2);
  assertEquals(optimizer.sgd!.paramGroups[0].params.map(({ name }) => name), [a.name, b.name]);
});

testAll("gradients come by name or as a list; a variable without one stays", async (tf, memory) => {
  const [a, b] = [variable(tf, [1, 2]), variable(tf, [3])];
  const [ga, gb] = [tf.tensor1d([1, 1]), tf.tensor1d([4])];
  const optimizer = new DescentOptimizer(tf, { lr: 0.5, momentum: 0.5, memory });
  optimizer.applyGradients({ [a.name]: ga, [b.name]: gb });
  optimizer.applyGradients([{ name: b.name, tensor: gb }]);
  optimizer.applyGradients([
    { name: a.name, tensor: null as unknown as TfTypes.Tensor },
    { name: b.name, tensor: gb },
  ]);
  assertEquals(await valuesOf(a), [0.5, 1.5]);
  assertEquals(await valuesOf(b), [3 - 0.5 * (4 + 6 + 7)]);
  optimizer.applyGradients({ [a.name]: ga }); // its momentum is still there
  assertEquals(await valuesOf(a), [0.5 - 0.75, 1.5 - 0.75]);
});

testAll(
  "a variable that comes later is stepped with the options of the first",
  async (tf, memory) => {
    const [a, b] = [variable(tf, [1]), variable(tf, [1])];
    const gradient = tf.tensor1d([1]);
    const momentumBits = tf.getBackend() === "webgpu" ? 32 : 8;
    const optimizer = new DescentOptimizer(tf, { lr: 0.5, momentumBits, memory });
    optimizer.applyGradients({ [a.name]: gradient });
    optimizer.setLearningRate(0.25);
    optimizer.applyGradients({ [a.name]: gradient, [b.name]: gradient });
    assertEquals([...await valuesOf(a), ...await valuesOf(b)], [0.25, 0.75]);
    const groups = optimizer.sgd!.paramGroups;
    assertEquals(groups.map(({ lr, momentumBits }) => [lr, momentumBits]), [
      [0.25, momentumBits],
      [0.25, momentumBits],
    ]);
  },
);

testAll("variables that are named are there before the first gradients", async (tf, memory) => {
  const [a, b] = [variable(tf, [1]), variable(tf, [2])];
  const options = { lr: 0.5, memory, variables: [b, a] };
  const optimizer = new DescentOptimizer(tf, options);
  const { params } = optimizer.sgd!.paramGroups[0];
  assertEquals(params.map(({ name }) => name), [b.name, a.name]);
  assertEquals(new DescentOptimizer(tf, { lr: 0.5, memory }).sgd, null);
  optimizer.sgd!.paramGroups[0].lr = 0.25;
  optimizer.applyGradients({ [a.name]: tf.tensor1d([1]) });
  assertEquals([...await valuesOf(a), ...await valuesOf(b)], [0.75, 2]);
});

testAll("clones of a variable keep their values when it is stepped", async (tf, memory) => {
  const first = tf.tensor1d([1, 2]);
  const a = tf.variable(first, true, `v${count++}`);
  const gradient = tf.tensor1d([1, 1]);
  const optimizer = new DescentOptimizer(tf, { lr: 0.5, memory });
  optimizer.applyGradients({ [a.name]: gradient });
  const [clone, flat] = [a.clone(), a.reshape([2, 1])];
  optimizer.applyGradients({ [a.name]: gradient });
  optimizer.applyGradients({ [a.name]: gradient });
  assertEquals(await valuesOf(first), [1, 2]);
  assertEquals([await valuesOf(clone), await valuesOf(flat)], [[0.5, 1.5], [0.5, 1.5]]);
  assertEquals(await valuesOf(a), [-0.5, 0.5]);
});

testAll("a gradient may be a variable itself, or shared by two of them", async (tf, memory) => {
  const [a, b] = [variable(tf, [2, 4]), variable(tf, [8, 8])];
  const optimizer = new DescentOptimizer(tf, { lr: 0.5, memory });
  optimizer.applyGradients({ [a.name]: a, [b.name]: a });
  assertEquals([await valuesOf(a), await valuesOf(b)], [[1, 2], [7, 6]]);
  const clone = a.clone();
  optimizer.applyGradients({ [a.name]: clone, [b.name]: clone });
  assertEquals([await valuesOf(a), await valuesOf(b)], [[0.5, 1], [6.5, 5]]);
});

testAll("values that are assigned between steps are stepped", async (tf, memory) => {
  const a = variable(tf, [1]);
  const gradient = tf.tensor1d([1]);
  const optimizer = new DescentOptimizer(tf, { lr: 0.5, momentum: 0.5, memory });
  optimizer.applyGradients({ [a.name]: gradient });
  a.assign(tf.tensor1d([10]));
  optimizer.applyGradients({ [a.name]: gradient });
  assertEquals(await valuesOf(a), [10 - 0.5 * 1.5]);
});

testAll("a step that is skipped leaves the variables", async (tf, memory) => {
  const a = variable(tf, [1]);
  const optimizer = new DescentOptimizer(tf, {
    lr: 0.5,
    memory,
    stepOptions: { checkFinite: true },
  });
  optimizer.applyGradients({ [a.name]: tf.tensor1d([NaN]) });
  if (tf.getBackend() !== "webgpu") assertEquals(optimizer.sgd!.lastStep!.skipped, true);
  assertEquals(await valuesOf(a), [1]);
});

testAll("a step that fails leaves the variables and the next step works", async (tf, memory) => {
  const [a, b] = [variable(tf, [1]), variable(tf, [1])];
  const gradient = tf.tensor1d([1]);
  const optimizer = new DescentOptimizer(tf, { lr: 0.5, memory, variables: [a, b] });
  const wrong = { [a.name]: gradient, [b.name]: tf.tensor1d([1, 2]) };
  const error = assertThrows(() => optimizer.applyGradients(wrong), RangeError);
  assert(error.message.includes(b.name), error.message);
  assertEquals([...await valuesOf(a), ...await valuesOf(b)], [1, 1]);
  assertEquals(optimizer.iterations, 0);
  optimizer.applyGradients({ [a.name]: gradient, [b.name]: gradient });
  assertEquals([...await valuesOf(a), ...await valuesOf(b)], [0.5, 0.5]);
});

testAll("a disposed variable does not stop the others", async (tf, memory) => {
  const [a, b] = [variable(tf, [1]), variable(tf, [1])];
  const gradient = tf.tensor1d([1]);
  const optimizer = new DescentOptimizer(tf, { lr: 0.5, momentum: 0.5, memory });
  optimizer.applyGradients({ [a.name]: gradient, [b.name]: gradient });
  a.dispose();
  optimizer.applyGradients({ [b.name]: gradient });
  assertEquals(await valuesOf(b), [1 - 0.5 - 0.75]);
  // A new variable of that name takes its place.
  const again = tf.variable(tf.tensor1d([4]), true, a.name);
  optimizer.applyGradients({ [a.name]: gradient });
  assertEquals(await valuesOf(again), [4 - 0.75]);
});

/** What kernels of wasm that keep packed weights make of variables. */
function runKernels(
  tf: Tf,
  [conv, depthwise, matrix, alpha]: TfTypes.Tensor[],
): Promise<number[][]> {
  const image = tf.range(0, 18).reshape([1, 3, 3, 2]) as TfTypes.Tensor4D;
  const rows = tf.range(-2, 2).reshape([2, 2]) as TfTypes.Tensor2D;
  const results = [
    tf.conv2d(image, conv as TfTypes.Tensor4D, 1, "same"),
    tf.depthwiseConv2d(image, depthwise as TfTypes.Tensor4D, 1, "same"),
    tf.matMul(rows, matrix),
    tf.prelu(rows, alpha),
  ];
  return Promise.all(results.map(valuesOf));
}

testOn(
  "wasm",
  "kernels that pack weights compute with those that views have stepped",
  async (tf) => {
    const shapes = [[3, 3, 2, 1], [3, 3, 2, 1], [2, 2], [2]];
    const variables = shapes.map((shape, i) => {
      const values = Array.from({ length: shape.reduce((a, b) => a * b) }, (_, k) => i + k / 4);
      return variable(tf, values, shape);
    });
    const optimizer = new DescentOptimizer(tf, { lr: 0.5, momentum: 0.9, memory: "view" });
    for (let step = 0; step < 3; step++) {
      const before = await runKernels(tf, variables);
      optimizer.applyGradients(
        variables.map(({ name, shape }) => ({ name, tensor: tf.ones(shape) })),
      );
      const copies = variables.map((each) => tf.tensor(each.dataSync().slice(), each.shape));
      const after = await runKernels(tf, variables);
      assertEquals(after, await runKernels(tf, copies));
      after.forEach((values, i) => assert(values.some((value, k) => value !== before[i][k])));
    }
  },
);

testOn("wasm", "views are found again when the memory grows", async (tf) => {
  const a = variable(tf, [1, 2, 3]);
  const gradient = tf.tensor1d([1, 1, 1]);
  const optimizer = new DescentOptimizer(tf, { lr: 1, momentum: 0.5, memory: "view" });
  optimizer.applyGradients({ [a.name]: gradient });
  const large = tf.zeros([50_000_000]);
  optimizer.applyGradients({ [a.name]: gradient });
  large.dispose();
  assertEquals(await valuesOf(a), [1 - 2.5, 2 - 2.5, 3 - 2.5]);
});

testAll("optimizer.sgd has the values of variables as they are", async (tf, memory) => {
  const a = variable(tf, [1, 2]);
  const optimizer = new DescentOptimizer(tf, { lr: 1, memory, variables: [a] });
  const parametersOf = async () => {
    const { parameters } = await optimizer.sgd!.stateDictAsync({ parameters: true });
    return [...parameters![0].data];
  };
  optimizer.applyGradients({ [a.name]: tf.tensor1d([1, 1]) });
  const large = tf.zeros([50_000_000]); // the memory of wasm grows, which detaches views
  assertEquals(await parametersOf(), [0, 1]);
  large.dispose();
  a.assign(tf.tensor1d([5, 6]));
  assertEquals(await parametersOf(), [5, 6]);
});

for (const backend of ["wasm", "webgpu"] as const) {
  for (const memory of ["copy", "view"] as const) {
    testOn(backend, `what another backend has is stepped, memory "${memory}"`, async (tf) => {
      await tf.setBackend("cpu");
      const a = variable(tf, [1, 2]);
      const clone = a.clone();
      const gradient = tf.tensor1d([1, 1]);
      await tf.setBackend(backend);
      const optimizer = new DescentOptimizer(tf, { lr: 1, memory });
      for (let step = 0; step < 2; step++) optimizer.applyGradients({ [a.name]: gradient });
      assertEquals(await valuesOf(a), [-1, 0]);
      assertEquals(await valuesOf(clone), [1, 2]);
    });
  }
}

testOn("wasm", "views survive that memory grows for what another backend has", async (tf) => {
  await tf.setBackend("cpu");
  const variables = [variable(tf, [1, 2]), variable(tf, [3])];
  const large = variable(tf, Array.from({ length: 9_000_000 }, () => 1));
  const gradients = [tf.tensor1d([1, 1]), tf.tensor1d([1]), tf.ones([9_000_000])];
  await tf.setBackend("wasm");
  const all = [...variables, large];
  const optimizer = new DescentOptimizer(tf, { lr: 1, memory: "view", variables: all });
  optimizer.applyGradients(all.map(({ name }, i) => ({ name, tensor: gradients[i] })));
  assertEquals([await valuesOf(all[0]), await valuesOf(all[1])], [[0, 1], [2]]);
  assert((await large.data()).every((value) => value === 0));
  tf.dispose([...all, ...gradients]);
});

for (const memory of ["copy", "view"] as const) {
  testOn("cpu", `values may be plain numbers, memory "${memory}"`, async (tf) => {
    const [a, gradient] = [variable(tf, [1, 2]), tf.tensor1d([1, 1])];
    const backend = tf.backend() as unknown as { data: { get(id: object): { values: unknown } } };
    for (const tensor of [a, gradient]) {
      const data = backend.data.get(tensor.dataId);
      data.values = Array.from(data.values as Float32Array);
    }
    const optimizer = new DescentOptimizer(tf, { lr: 1, memory });
    for (let step = 0; step < 2; step++) optimizer.applyGradients({ [a.name]: gradient });
    assertEquals(await valuesOf(a), [-1, 0]);
  });
}

testAll("stepOptions can be assigned between steps", async (tf, memory) => {
  const a = variable(tf, [0]);
  const optimizer = new DescentOptimizer(tf, { lr: 1, memory });
  optimizer.stepOptions = { maxValue: 0.5 };
  optimizer.applyGradients({ [a.name]: tf.tensor1d([3]) });
  assertEquals(await valuesOf(a), [-0.5]);
  optimizer.stepOptions = undefined;
  optimizer.applyGradients({ [a.name]: tf.tensor1d([3]) });
  assertEquals(await valuesOf(a), [-3.5]);
});

testOn("cpu", "an option of steps that is an object is the step's to check", (tf) => {
  const a = variable(tf, [0]);
  const stepOptions = { maxNorm: Infinity, another: { of: "variables" } };
  const optimizer = new DescentOptimizer(tf, { lr: 1, stepOptions });
  assertThrows(
    () => optimizer.applyGradients({ [a.name]: tf.tensor1d([3]) }),
    TypeError,
    'Cannot read option "another"',
  );
});

testOn("cpu", "a configuration is JSON, and makes an equal optimizer", (tf) => {
  const average = new WeightAverage([{ data: new Float32Array(1) }], { decay: 0.5 });
  const options = {
    ...{ lr: 0.1, momentum: 0.9, weightDecay: 0.01, nesterov: true, foreach: null, seed: 3 },
    decoupledWeightDecay: true,
    ...{ memory: "view" as const, stepOptions: { maxNorm: Infinity, average } },
  };
  const config = new DescentOptimizer(tf, options).getConfig();
  assertEquals(config.stepOptions, { maxNorm: "Infinity" }); // objects are the program's own
  const text = JSON.stringify({ ...config, customObjects: { Layer: [null] } });
  const again = DescentOptimizer.fromConfig(tf, JSON.parse(text));
  assertEquals(again.stepOptions, { maxNorm: Infinity });
  assertEquals(again.getConfig(), config);
});

testAll("weights of an optimizer that has not stepped make another one new", async (tf, memory) => {
  const a = variable(tf, [0]);
  const gradient = tf.tensor1d([1]);
  const rule = { lr: 1, momentum: 0.5, memory };
  const optimizer = new DescentOptimizer(tf, { ...rule, variables: [a] });
  optimizer.applyGradients({ [a.name]: gradient });
  await optimizer.setWeights(await new DescentOptimizer(tf, rule).getWeights());
  assertEquals(optimizer.iterations, 0);
  optimizer.applyGradients({ [a.name]: gradient });
  assertEquals(await valuesOf(a), [-2]); // -2.5 with the momentum of the first step
});
