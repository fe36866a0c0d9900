/** Training with tfjs on WebGPU, as a page: it posts how the weights compare with those of others. */

import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-webgpu";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import { createData, createModel, FIT, save, weightsOf } from "./models.ts";

/** What the page says of one way to step variables. */
export interface PageResult {
  readonly memory: "copy" | "view";
  /** What stepped: the backend of the `SGD` behind the optimizer. */
  readonly stepped: string | undefined;
  readonly losses: readonly number[];
  /** The largest differences from the weights that training began with, and from `tf.train.momentum`. */
  readonly learned: number;
  readonly distance: number;
  /** The losses of two more epochs, by the model and by one that was saved and loaded. */
  readonly resumed: readonly [own: unknown, loaded: unknown];
}

const RULE = { lr: 0.05, momentum: 0.9, nesterov: true };

function distance(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

async function fit(optimizer: tf.Optimizer) {
  const { x, y } = createData(tf);
  const model = createModel(tf);
  const first = await weightsOf(model);
  model.compile({ optimizer, loss: "categoricalCrossentropy" });
  const more = async (each: tf.LayersModel, epochs: number) =>
    (await each.fit(x, y, { ...FIT, epochs })).history.loss as number[];
  const losses = await more(model, 12);
  return { model, losses, first, weights: await weightsOf(model), more };
}

async function train(memory: "copy" | "view"): Promise<PageResult> {
  const peer = await fit(tf.train.momentum(RULE.lr, RULE.momentum, RULE.nesterov));
  const optimizer = new DescentOptimizer(tf, { ...RULE, memory });
  const { model, losses, first, weights, more } = await fit(optimizer);
  DescentOptimizer.register(tf);
  const loaded = await tf.loadLayersModel(await save(tf, model));
  return {
    ...{ memory, losses, stepped: optimizer.sgd?.backend },
    learned: distance(weights, first),
    distance: distance(weights, peer.weights),
    resumed: [await more(model, 2), await more(loaded, 2)],
  };
}

await tf.setBackend("webgpu");
await tf.ready();
const results = tf.getBackend() === "webgpu" ? [await train("copy"), await train("view")] : [];
await fetch("/result", { method: "POST", body: JSON.stringify(results) });
