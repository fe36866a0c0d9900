/** One pass over the training images. */

import type { SGD } from "@descent/sgd";
import type { Dataset } from "./dataset.ts";
import type { Network } from "./network.ts";

/** What one pass gave. */
export interface Pass {
  /** Mean loss over the images, each as it was when the image came by. */
  readonly loss: number;
  /** Time spent in the optimizer, in milliseconds. */
  readonly optimizerMs: number;
}

/** Who works on a batch: all of it, or one of several parts. */
export interface Shares {
  /** How many parts a batch has, whose gradients are averaged. */
  readonly count: number;
  /** The parts that this process works on: all of them, or that of its rank. */
  readonly own: readonly number[];
  /** Adds up numbers over all processes. */
  sum(values: Float64Array): Float64Array;
}

/** One process that takes each batch as it is. */
export const ALONE: Shares = { count: 1, own: [0], sum: (values) => values };

/**
 * Steps once per batch.
 *
 * @param order The images in the order in which they come by.
 * @param batch Images per step; the last step takes what is left.
 */
export function trainEpoch(
  network: Network,
  optimizer: SGD,
  images: Dataset,
  order: Uint32Array,
  batch: number,
  shares: Shares = ALONE,
): Pass {
  const losses = new Float64Array(shares.count);
  let optimizerMs = 0;
  for (let from = 0; from < order.length; from += batch) {
    const rows = order.subarray(from, from + batch);
    const gradients = shares.own.map((part) => {
      optimizerMs += timed(() => optimizer.zeroGrad());
      const own = partOf(rows, part, shares.count);
      if (own.length > 0) losses[part] += network.lossAndGradients(images, own) * own.length;
      return shares.own.length > 1 ? network.parameters.map(({ grad }) => grad.slice()) : [];
    });
    optimizerMs += timed(() => step(network, optimizer, gradients));
  }
  const loss = shares.sum(losses).reduce((sum, loss) => sum + loss, 0);
  return { loss: loss / order.length, optimizerMs };
}

/** The images of one of several parts of a batch. */
function partOf(rows: Uint32Array, part: number, count: number): Uint32Array {
  const start = (part: number) => Math.floor(rows.length * part / count);
  return rows.subarray(start(part), start(part + 1));
}

/** Steps with the average of several lists of gradients, or with those that the parameters have. */
function step(
  network: Network,
  optimizer: SGD,
  lists: readonly (readonly Float32Array[])[],
): void {
  if (lists.length === 1) return void optimizer.step();
  network.parameters.forEach(({ grad }, i) => grad.set(lists[0][i]));
  const addGradients = lists.slice(1) as Float32Array<ArrayBuffer>[][];
  optimizer.step({ addGradients, gradScale: lists.length, checkFinite: false });
}

function timed(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}
