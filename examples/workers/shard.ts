/** One of several that share the images of each step: a worker, or a part of what one thread does. */

import { CLASSES, PIXELS } from "../digits/dataset.ts";
import type { Dataset } from "../digits/dataset.ts";
import { Network } from "../digits/network.ts";
import type { Tensor } from "../digits/network.ts";
import type { Range } from "./barrier.ts";

/** The sizes of the network. */
export const SIZES = { inputs: PIXELS, hidden: 64, outputs: CLASSES };

/** What a shard works on. All arrays but the images are shared between threads. */
export interface ShardData {
  /** Its number, and how many there are. */
  readonly index: number;
  readonly count: number;
  /** The parameters, which all shards read, with the gradients that only this one writes. */
  readonly tensors: readonly Tensor[];
  readonly images: Dataset;
  /** The images in the order of the epoch. */
  readonly order: Uint32Array;
  /** The loss of each shard, of which it writes its own. */
  readonly losses: Float64Array;
}

/** Computes the part of a shard in loss and gradients of the images of a step. */
export function createShard(data: ShardData): (range: Range) => void {
  const { index, count, tensors, images, order, losses } = data;
  const network = new Network(SIZES, null, (name) => tensors.find((own) => own.name === name)!);
  return ({ from, to }) => {
    const rows = order.subarray(from, to);
    const part = (shard: number) => Math.round(shard * rows.length / count);
    const own = rows.subarray(part(index), part(index + 1));
    losses[index] = network.lossAndGradients(images, own, rows.length);
  };
}
