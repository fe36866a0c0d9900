/**
 * An optimizer for TensorFlow.js that steps by {@linkcode SGD}: `minimize`, `applyGradients`,
 * `model.compile`, `fit`, and saved models that resume bit for bit, on its backends `cpu`, `wasm` and
 * `webgpu`.
 *
 * | | |
 * | --- | --- |
 * | {@linkcode DescentOptimizer} | the optimizer; takes the module of tfjs, which this entry does not import |
 * | {@linkcode DescentOptimizerOptions} | the options of `SGD`, and `memory`, `variables` and `stepOptions` |
 *
 * Guide: [TensorFlow.js](https://github.com/descent/sgd/blob/main/docs/tfjs.md).
 *
 * @example Train a model
 * ```ts ignore
 * import * as tf from "@tensorflow/tfjs";
 * import { DescentOptimizer } from "@descent/sgd/tfjs";
 *
 * const model = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [2] })] });
 * const optimizer = new DescentOptimizer(tf, { lr: 0.1, momentum: 0.9 });
 * model.compile({ optimizer, loss: "meanSquaredError" });
 * await model.fit(tf.tensor2d([[0, 1], [1, 0]]), tf.tensor2d([[1], [2]]), { epochs: 20 });
 * console.log(optimizer.sgd?.paramGroups[0].lr); // 0.1
 * ```
 *
 * @module
 */

export { DescentOptimizer } from "./src/tfjs/optimizer.ts";
export type {
  DescentOptimizerConstructor,
  DescentOptimizerInstance,
  DescentOptimizerOptions,
} from "./src/tfjs/types.ts";
export type { NamedTfTensor, TfGradients, Tfjs, TfTensor, TfVariable } from "./src/tfjs/api.ts";
export type { OptimizerConfig } from "./src/tfjs/config.ts";
