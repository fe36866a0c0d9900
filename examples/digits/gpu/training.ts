/** Training on a device, whichever way it is opened: an epoch at a time. */

import { SGD } from "@descent/sgd";
import type { SGDOptions } from "@descent/sgd";
import { CLASSES, PIXELS, split } from "../dataset.ts";
import type { Dataset } from "../dataset.ts";
import type { EpochResult } from "../plot.ts";
import { openStream, permutation, STREAM } from "../random.ts";
import { Batches } from "./batches.ts";
import type { Compute, ComputeTensor } from "./compute.ts";
import { GpuNetwork } from "./network.ts";

export const SIZES = { inputs: PIXELS, hidden: 64, outputs: CLASSES };

/** What a run is like. */
export interface Settings {
  readonly sgd: SGDOptions;
  /** Images per step. */
  readonly batch: number;
  /** Decides the split, the first weights and the order of the images. */
  readonly seed: number;
}

/** A network on a device, and the optimizer of its parameters. */
export class Training<T extends ComputeTensor> {
  /** How many images there are. */
  readonly images: { readonly train: number; readonly test: number };
  readonly #seed: number;
  readonly #batches: Batches<T>;
  readonly #network: GpuNetwork<T>;
  readonly #optimizer: SGD<T>;

  /** Uploads everything; from here on images and parameters stay on the device. */
  constructor(gpu: Compute<T>, digits: Dataset, { sgd, batch, seed }: Settings) {
    const { train, test } = split(digits, openStream(seed, STREAM.split));
    const random = openStream(seed, STREAM.weights);
    this.images = { train: train.length, test: test.length };
    this.#seed = seed;
    this.#network = new GpuNetwork(gpu, SIZES, random, { train, test, batch });
    this.#optimizer = new SGD<T>(this.#network.parameters, sgd);
    this.#batches = new Batches(gpu, train.length, batch);
  }

  /** Steps of an epoch. */
  get steps(): number {
    return this.#batches.views.length;
  }

  /** Queues all steps of an epoch, counted from 1, and waits once, for how it went. */
  async run(epoch: number): Promise<EpochResult> {
    const order = permutation(openStream(this.#seed, STREAM.epoch(epoch)), this.images.train);
    this.#batches.write(order);
    for (const batch of this.#batches.views) {
      this.#network.gradients(batch);
      this.#optimizer.step();
    }
    return { epoch, ...await this.#network.score() };
  }
}
