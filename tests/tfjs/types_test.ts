/** The adapter beside the types of tfjs, as a strict program has them. `deno check` is a part of this. */

import { assert, assertEquals } from "@std/assert";
import type { SGD } from "@descent/sgd";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import type * as TfTypes from "@tensorflow/tfjs";
import { testOn } from "./libraries.ts";

testOn("cpu", "an optimizer is one for the types of tfjs, and for its classes", async (tf) => {
  const w = tf.variable(tf.tensor1d([1]), true, "typed");
  const optimizer = new DescentOptimizer(tf, {
    lr: 0.5,
    memory: "copy",
    variables: [w],
    stepOptions: { maxNorm: 10 },
  });
  const model = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [2] })] });
  model.compile({ optimizer, loss: "meanSquaredError" });
  const peer: TfTypes.Optimizer = optimizer;
  const own: DescentOptimizer = optimizer;
  const both: DescentOptimizer<TfTypes.Optimizer> = optimizer;
  model.compile({ optimizer: both, loss: "meanSquaredError" });
  const sgd: SGD | null = optimizer.sgd;
  assertEquals(Deno.inspect(optimizer).match(/(iterations|memory|elements|lr): [^,]+/g), [
    "iterations: 0",
    'memory: "copy"',
    "elements: 1",
    "elements: 1", // of the group
    "lr: 0.5",
  ]);
  const cost: TfTypes.Scalar | null = optimizer.minimize(() => w.square().asScalar(), true, [w]);
  assertEquals([...await cost!.data(), ...await w.data()], [1, 0]);
  optimizer.applyGradients({ [w.name]: tf.ones([1]) });
  optimizer.applyGradients([{ name: w.name, tensor: tf.ones([1]) }]);
  await own.setWeights(await peer.getWeights());
  await peer.setWeights(await optimizer.getWeights());
  const again: TfTypes.Optimizer = DescentOptimizer.fromConfig(tf, peer.getConfig());
  assertEquals(again.getClassName(), DescentOptimizer.className);
  assert(peer instanceof tf.Optimizer && peer instanceof DescentOptimizer);
  assertEquals([optimizer.iterations, optimizer.constructor.name], [3, "DescentOptimizer"]);
  assert(sgd !== null);
  // @ts-expect-error: lr is a number
  const wrongOption = () => new DescentOptimizer(tf, { lr: "0.1" });
  // @ts-expect-error: this is not tfjs
  const wrongModule = () => new DescentOptimizer({}, { lr: 0.1 });
  for (const make of [wrongOption, wrongModule]) {
    let error: unknown = null;
    try {
      make();
    } catch (thrown) {
      error = thrown;
    }
    assert(error instanceof TypeError);
  }
});
