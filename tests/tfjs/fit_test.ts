/** Training with TensorFlow.js: its numbers, its models, and what survives a file. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { SGD } from "@descent/sgd";
import { exponentialLR, LRScheduler } from "@descent/sgd/schedules";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import type { DescentOptimizerOptions } from "@descent/sgd/tfjs";
import type { Variable } from "@tensorflow/tfjs";
import { BACKENDS, testAll, testOn } from "./libraries.ts";
import type { Tf } from "./libraries.ts";
import { createData, createModel, FIT, save, weightsOf } from "./models.ts";

const RULE = { lr: 0.05, momentum: 0.9, nesterov: true };

/** Fits a new model, and returns it with its losses. */
async function fit(tf: Tf, options: DescentOptimizerOptions, epochs: number) {
  const { x, y } = createData(tf);
  const model = createModel(tf);
  const optimizer = new DescentOptimizer(tf, options);
  model.compile({ optimizer, loss: "categoricalCrossentropy" });
  const { history } = await model.fit(x, y, { ...FIT, epochs });
  return { model, optimizer, x, y, losses: history.loss as number[] };
}

/** The largest difference of two arrays. */
function distance(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

for (const nesterov of [false, true]) {
  testAll(
    `60 steps (nesterov: ${nesterov}) have the weights of tf.train.momentum within 2e-5`,
    async (
      tf,
      memory,
    ) => {
      const { model, x, y } = await fit(tf, { lr: 0.05, momentum: 0.9, nesterov, memory }, 12);
      const peer = createModel(tf);
      const first = await weightsOf(peer);
      peer.compile({
        optimizer: tf.train.momentum(0.05, 0.9, nesterov),
        loss: "categoricalCrossentropy",
      });
      await peer.fit(x, y, { ...FIT, epochs: 12 });
      const [own, others] = [await weightsOf(model), await weightsOf(peer)];
      assert(distance(first, others) > 0.05, "nothing was learned");
      assert(distance(own, others) < 2e-5, `${distance(own, others)}`);
    },
  );
}

for (const backend of BACKENDS) {
  testOn(backend, "views and copies have equal bits", async (tf) => {
    const [copies, views] = [
      await fit(tf, { ...RULE, memory: "copy" }, 6),
      await fit(tf, { ...RULE, memory: "view" }, 6),
    ];
    assertEquals(views.losses, copies.losses);
    assertEquals(await weightsOf(views.model), await weightsOf(copies.model));
    assert(copies.losses.at(-1)! < copies.losses[0]);
  });
}

testAll("a model that is saved and loaded resumes with equal bits", async (tf, memory) => {
  for (const momentumBits of [32, 8] as const) {
    if (momentumBits === 8 && tf.getBackend() === "webgpu") continue; // arrays alone have it
    const decay = { weightDecay: 0.1, decoupledWeightDecay: true };
    const rule = { ...RULE, ...decay, dampening: 0, stepOptions: { maxNorm: 1 } };
    const options = { ...rule, memory, momentumBits };
    const { model, optimizer, x, y } = await fit(tf, options, 2);
    optimizer.setLearningRate(0.03);
    DescentOptimizer.register(tf);
    const handler = await save(tf, model);
    const again = await tf.loadLayersModel(handler);
    const loaded = again.optimizer as unknown as DescentOptimizer;
    assertEquals(loaded.getConfig(), optimizer.getConfig());
    assertEquals(loaded.iterations, 10);
    assertEquals(loaded.sgd, null);
    // What is saved before the first step is what was loaded.
    const third = await tf.loadLayersModel(await save(tf, again));
    const histories = [];
    for (const each of [model, again, third]) {
      histories.push((await each.fit(x, y, { ...FIT, epochs: 2 })).history.loss);
    }
    assertEquals(histories[1], histories[0]);
    assertEquals(histories[2], histories[0]);
    assertEquals(await weightsOf(again), await weightsOf(model));
    assertEquals(loaded.sgd!.paramGroups[0].lr, 0.03);
    assertEquals(loaded.iterations, 20);
  }
});

testAll("evaluate sees the weights that were stepped", async (tf, memory) => {
  const { model, x, y } = await fit(tf, { ...RULE, memory }, 3);
  const lossOf = async (of: typeof model) => {
    const loss = of.evaluate(x, y, { batchSize: 8 }) as { data(): Promise<ArrayLike<number>> };
    return (await loss.data())[0];
  };
  const copy = createModel(tf);
  const weights = model.getWeights().map(async (weight) =>
    tf.tensor((await weight.data()).slice(), weight.shape)
  );
  copy.setWeights(await Promise.all(weights));
  copy.compile({ optimizer: "sgd", loss: "categoricalCrossentropy" });
  assertEquals(await lossOf(model), await lossOf(copy));
});

testAll("weights that are set between steps are those that the next step starts from", async (
  tf,
  memory,
) => {
  const { model, optimizer, x, y } = await fit(tf, { lr: 0.1, memory }, 1);
  const zeros = model.getWeights().map(({ shape }) => tf.zeros(shape));
  model.setWeights(zeros);
  optimizer.setLearningRate(0);
  await model.fit(x, y, { ...FIT, epochs: 1 });
  assert((await weightsOf(model)).every((value) => value === 0));
});

testAll("training leaves no tensors behind, and dispose none of the optimizer's", async (
  tf,
  memory,
) => {
  const { model, optimizer, x, y } = await fit(tf, { ...RULE, memory }, 1);
  const count = tf.memory().numTensors;
  await model.fit(x, y, { ...FIT, epochs: 2 });
  assertEquals(tf.memory().numTensors, count);
  for (let i = 0; i < 3; i++) await optimizer.getWeights();
  assertEquals(tf.memory().numTensors, count + 2);
  const before = await weightsOf(model);
  optimizer.dispose();
  optimizer.dispose();
  const ownsBuffers = tf.getBackend() === "webgpu" && memory === "copy";
  const owned = ownsBuffers ? model.getWeights().length : 0;
  assertEquals(tf.memory().numTensors, count - owned);
  assertEquals(await weightsOf(model), before);
  assertEquals(optimizer.sgd, null);
});

testAll("stepOptions go to every step", async (tf, memory) => {
  const { model, optimizer, losses } = await fit(
    tf,
    { lr: 0.1, memory, stepOptions: { maxNorm: 1e-3 } },
    1,
  );
  const plain = await fit(tf, { lr: 0.1, memory }, 1);
  assertEquals(losses.length, plain.losses.length);
  assertNotEquals(await weightsOf(model), await weightsOf(plain.model));
  const sgd: SGD | null = optimizer.sgd;
  assert(sgd instanceof SGD);
  if (tf.getBackend() === "webgpu") return; // where the report is on the device
  const { gradNorm, clipCoefficients } = sgd!.lastStep!;
  assert(gradNorm! > 1e-3);
  assert(clipCoefficients![0] < 1);
});

testAll(
  "a scheduler sets the learning rate of a fit, from the first step on",
  async (tf, memory) => {
    const { x, y } = createData(tf);
    const model = createModel(tf);
    const variables = model.trainableWeights.map((weight) => weight.read() as Variable);
    const optimizer = new DescentOptimizer(tf, { lr: 0.8, memory, variables });
    const scheduler = new LRScheduler(optimizer.sgd!, exponentialLR({ gamma: 0.5 }), {
      warn: false,
    });
    model.compile({ optimizer, loss: "categoricalCrossentropy" });
    const rates: number[] = [];
    const onEpochEnd = () => {
      scheduler.step();
      rates.push(optimizer.sgd!.paramGroups[0].lr);
    };
    await model.fit(x, y, { ...FIT, epochs: 3, callbacks: { onEpochEnd } });
    assertEquals(rates, [0.4, 0.2, 0.1]);
    assertEquals(optimizer.sgd!.paramGroups.length, 1);
  },
);

testAll("state finds its variables when a layer was unfrozen before the model was saved", async (
  tf,
  memory,
) => {
  const { x, y } = createData(tf);
  const model = createModel(tf);
  const optimizer = new DescentOptimizer(tf, { ...RULE, memory });
  const [first] = model.layers;
  for (const trainable of [false, true]) {
    first.trainable = trainable;
    model.compile({ optimizer, loss: "categoricalCrossentropy" });
    await model.fit(x, y, { ...FIT, epochs: 2 });
  }
  assertEquals(optimizer.sgd!.paramGroups.map(({ params }) => params.length), [3, 2]);
  DescentOptimizer.register(tf);
  const again = await tf.loadLayersModel(await save(tf, model));
  const losses = [];
  for (const each of [model, again]) {
    losses.push((await each.fit(x, y, { ...FIT, epochs: 2 })).history.loss);
  }
  assertEquals(losses[1], losses[0]);
  assertEquals(await weightsOf(again), await weightsOf(model));
});
