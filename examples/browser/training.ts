/** Trains the network of the digits in a page: on a device of WebGPU, or in JavaScript. */

import { SGD } from "@descent/sgd";
import { split } from "../digits/dataset.ts";
import type { Dataset } from "../digits/dataset.ts";
import { SIZES, Training } from "../digits/gpu/training.ts";
import type { Settings } from "../digits/gpu/training.ts";
import { openWebGpu } from "../digits/gpu/webgpu.ts";
import { Network } from "../digits/network.ts";
import type { EpochResult } from "../digits/plot.ts";
import { openStream, permutation, STREAM } from "../digits/random.ts";
import { trainEpoch } from "../digits/train.ts";

/** Where a page trains. */
export type Place = "webgpu" | "js";

/** The settings of the main demo. */
export const SETTINGS: Settings = {
  sgd: { lr: 0.1, momentum: 0.9, weightDecay: 1e-4, backend: "js" },
  batch: 32,
  seed: 1,
};

/** A run that has begun. */
export interface Run {
  /** Where it is, for people. */
  readonly name: string;
  /** Takes one pass over the training images; epochs count from 1. */
  epoch(epoch: number): Promise<EpochResult>;
  /** Lets go of the device. */
  end(): void;
}

/** Begins a run. */
export async function begin(place: Place, digits: Dataset, settings = SETTINGS): Promise<Run> {
  if (place === "js") return beginInJavaScript(digits, settings);
  const { device, name, compute } = await openWebGpu();
  const training = new Training(compute, digits, settings);
  return { name, epoch: (epoch) => training.run(epoch), end: () => device.destroy() };
}

function beginInJavaScript(digits: Dataset, { sgd, batch, seed }: Settings): Run {
  const { train, test } = split(digits, openStream(seed, STREAM.split));
  const network = new Network(SIZES, openStream(seed, STREAM.weights));
  const optimizer = new SGD(network.parameters, sgd);
  return {
    name: "JavaScript and WebAssembly",
    epoch(epoch) {
      const order = permutation(openStream(seed, STREAM.epoch(epoch)), train.length);
      const { loss: trainLoss } = trainEpoch(network, optimizer, train, order, batch);
      const { loss: testLoss, correct } = network.evaluate(test);
      return Promise.resolve({ epoch, trainLoss, testLoss, testAccuracy: correct / test.length });
    },
    end() {},
  };
}
