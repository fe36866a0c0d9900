/** Models that are saved and loaded again and again, while layers are frozen and unfrozen at random. */

import { assertEquals } from "@std/assert";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import type { LayersModel } from "@tensorflow/tfjs";
import { testOn } from "./libraries.ts";
import type { Tf } from "./libraries.ts";
import { save, weightsOf } from "./models.ts";

const [ROUNDS, PHASES, LAYERS] = [12, 6, 4];

/** Numbers from 0 to 1: the same seed gives the same numbers (a Lehmer generator). */
function createRandom(seed: number): () => number {
  return () => (seed = seed * 48271 % 0x7fffffff) / 0x7fffffff;
}

/** Layers of different sizes, so that state of another layer does not fit, and two that are alike. */
function createModel(tf: Tf): LayersModel {
  const layers = [5, 5, 6, 2].map((units, i) =>
    tf.layers.dense({
      units,
      useBias: i !== 2,
      activation: "tanh",
      ...(i === 0 ? { inputShape: [5] } : {}),
      kernelInitializer: tf.initializers.glorotUniform({ seed: i }),
    })
  );
  return tf.sequential({ layers });
}

async function fit(tf: Tf, model: LayersModel, optimizer: unknown, frozen: readonly boolean[]) {
  model.layers.forEach((layer, i) => layer.trainable = !frozen[i]);
  model.compile({ optimizer: optimizer as never, loss: "meanSquaredError" });
  const x = tf.randomNormal([8, 5], 0, 1, "float32", 5);
  const y = tf.randomNormal([8, 2], 0, 1, "float32", 6);
  await model.fit(x, y, { batchSize: 4, shuffle: false, verbose: 0 });
}

for (const memory of ["copy", "view"] as const) {
  testOn("cpu", `${ROUNDS} runs resume with equal bits, memory "${memory}"`, async (tf) => {
    DescentOptimizer.register(tf);
    const random = createRandom(memory === "copy" ? 7 : 99);
    for (let round = 0; round < ROUNDS; round++) {
      const model = createModel(tf);
      const optimizer = new DescentOptimizer(tf, { lr: 0.05, momentum: 0.9, memory });
      let again: LayersModel | null = null;
      const phases: string[] = [];
      for (let phase = 0; phase < PHASES; phase++) {
        const frozen = Array.from({ length: LAYERS }, () => random() < 0.5);
        if (frozen.every((one) => one)) frozen[round % LAYERS] = false;
        phases.push(frozen.map((one) => one ? "frozen" : "trained").join());
        await fit(tf, model, optimizer, frozen);
        if (again !== null) await fit(tf, again, again.optimizer, frozen);
        if (random() < 0.6) again = await tf.loadLayersModel(await save(tf, again ?? model));
      }
      if (again !== null) {
        assertEquals(await weightsOf(again), await weightsOf(model), phases.join("; "));
      }
    }
  });
}
