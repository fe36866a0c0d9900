/** Models and data for the tests of the adapter, the same in every call. */

import type { LayersModel } from "@tensorflow/tfjs";
import type * as TfTypes from "@tensorflow/tfjs";
import type { Tf } from "./libraries.ts";

/** Rows of features and their classes. */
export function createData(tf: Tf) {
  const x = tf.randomNormal([40, 36], 0, 1, "float32", 5) as TfTypes.Tensor2D;
  const classes = tf.tensor1d(Array.from({ length: 40 }, (_, i) => i % 3), "int32");
  return { x, y: tf.oneHot(classes, 3).toFloat() as TfTypes.Tensor2D };
}

/** A network of layers that all backends have gradients of. */
export function createModel(tf: Tf): TfTypes.Sequential {
  const init = (seed: number) => tf.initializers.glorotUniform({ seed });
  return tf.sequential({
    layers: [
      tf.layers.dense({
        units: 24,
        inputShape: [36],
        activation: "tanh",
        kernelInitializer: init(1),
      }),
      tf.layers.dense({
        units: 200, // enough elements for momentum in 8 bits
        useBias: false,
        activation: "relu",
        kernelInitializer: init(2),
      }),
      tf.layers.dense({ units: 3, activation: "softmax", kernelInitializer: init(3) }),
    ],
  });
}

/** How models are fitted. */
export const FIT = { batchSize: 8, shuffle: false, verbose: 0 } as const;

/** All weights of a model in one array. */
export async function weightsOf(model: LayersModel): Promise<Float32Array> {
  const weights = await Promise.all(model.getWeights().map((weight) => weight.data()));
  return Float32Array.from(weights.flatMap((values) => [...values]));
}

/** Saves a model in memory, and returns what loads it. */
export async function save(tf: Tf, model: LayersModel): Promise<TfTypes.io.IOHandler> {
  let saved: TfTypes.io.ModelArtifacts | undefined;
  await model.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts;
      return Promise.resolve({
        modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" },
      });
    }),
    { includeOptimizer: true },
  );
  // What goes through a file is JSON and bytes.
  const { weightData, ...json } = saved!;
  return tf.io.fromMemory({ ...JSON.parse(JSON.stringify(json)), weightData });
}
