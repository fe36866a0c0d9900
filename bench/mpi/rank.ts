/** One rank of the measured job: steps a tensor in turn with commands of `bench/mpi.ts`. */

import { SGD } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import type { World } from "@descent/sgd/mpi";
import { LR, MOMENTUM, WEIGHT_DECAY } from "./settings.ts";

/** What can be measured; each returns what takes a step. */
const STEPS: Readonly<Record<string, (world: World, length: number) => () => void>> = {
  shards: (world, length) => stepper(world, new Float32Array(length), "shards"),
  gradients: (world, length) => stepper(world, new Float32Array(length), "gradients"),
  shared: (world, length) => stepper(world, world.zeros(length, "float32"), "shards"),
  header: (world) => stepper(world, new Float32Array(1), "gradients"),
  barrier: (world) => () => world.barrier(),
};

function stepper(world: World, data: Float32Array, exchange: "shards" | "gradients") {
  const isShared = exchange === "shards" && data.buffer !== undefined;
  const grad = isShared ? gradientLike(world, data) : new Float32Array(data.length);
  for (let i = 0; i < grad.length; i++) grad[i] = (i % 1000 - 500) * (world.rank + 1) / 1e6;
  const options = { lr: LR, momentum: MOMENTUM, weightDecay: WEIGHT_DECAY, world, exchange };
  const optimizer = new SGD([{ data, grad }], options);
  return () => optimizer.step();
}
