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
): Pass {
  let loss = 0;
  let optimizerMs = 0;
  for (let from = 0; from < order.length; from += batch) {
    const rows = order.subarray(from, from + batch);
    optimizerMs += timed(() => optimizer.zeroGrad());
    loss += network.lossAndGradients(images, rows) * rows.length;
    optimizerMs += timed(() => optimizer.step());
  }
  return { loss: loss / order.length, optimizerMs };
}

function timed(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}
