/** What the demos say of a run. */

import type { DemoOptions } from "./options.ts";
import type { EpochResult } from "./plot.ts";

/** The optimizer and its hyperparameters, for the picture. */
export function describeRun({ sgd, batch, seed }: DemoOptions): string {
  const name = `${sgd.sign ? "sign-" : ""}SGD${sgd.nesterov ? " (Nesterov)" : ""}`;
  return `${name}, lr ${sgd.lr}, momentum ${sgd.momentum}, weight decay ${sgd.weightDecay}, ` +
    `batch ${batch}, seed ${seed}`;
}

/** The line of an epoch. */
export function epochLine(result: EpochResult, epochs: number): string {
  const { epoch, trainLoss, testLoss, testAccuracy } = result;
  return `epoch ${String(epoch).padStart(String(epochs).length)}/${epochs}` +
    `  loss ${trainLoss.toFixed(8)}  test loss ${testLoss.toFixed(8)}` +
    `  test accuracy ${(100 * testAccuracy).toFixed(2).padStart(6)} %`;
}
