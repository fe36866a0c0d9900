/** The network of the demo with everything that belongs to it on the GPU. */

import type { Gpu, GpuKernel, GpuTensor } from "@descent/sgd/gpu";
import type { Dataset } from "../dataset.ts";
import { Network } from "../network.ts";
import type { Sizes } from "../network.ts";
import type { Random } from "../random.ts";
import type { Batch } from "./batches.ts";
import {
  layerShader,
  layerWorkgroups,
  SCORE_SHADER,
  testShader,
  trainingShader,
} from "./shaders.ts";

/** A tensor of the network; what the optimizer steps. */
export interface GpuParameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: GpuTensor;
  readonly grad: GpuTensor;
}

/** What a network is trained and tested with. */
export interface Lesson {
  readonly train: Dataset;
  readonly test: Dataset;
  /** Images per step, at most. */
  readonly batch: number;
}

/** How an epoch went. */
export interface GpuScore {
  /** Mean loss over the training images, each as it was when the image came by. */
  readonly trainLoss: number;
  /** Mean loss over the test images. */
  readonly testLoss: number;
  /** Share of the test images that are recognized, from 0 to 1. */
  readonly testAccuracy: number;
}

/** Labelled images on the device, and the loss of each. */
interface DeviceImages {
  readonly length: number;
  readonly images: GpuTensor;
  readonly labels: GpuTensor;
  readonly losses: GpuTensor;
}

/** What a batch leaves for the layers' gradients, a row per image. */
interface Activations {
  readonly inputs: GpuTensor;
  readonly hidden: GpuTensor;
  readonly hiddenGrad: GpuTensor;
  readonly outputGrad: GpuTensor;
}

interface Kernels {
  readonly train: GpuKernel;
  readonly hiddenLayer: GpuKernel;
  readonly outputLayer: GpuKernel;
  readonly test: GpuKernel;
  readonly score: GpuKernel;
}

/** `softmax(relu(x W1 + b1) W2 + b2)` on the device, with the first weights of the main demo. */
export class GpuNetwork {
  /** W1, b1, W2, b2. */
  readonly parameters: readonly GpuParameter[];
  readonly #sizes: Sizes;
  readonly #train: DeviceImages;
  readonly #test: DeviceImages;
  readonly #hits: GpuTensor;
  /** The sums of the training losses, the test losses and the hits. */
  readonly #score: GpuTensor;
  readonly #activations: Activations;
  readonly #kernels: Kernels;

  /** Uploads everything; from here on images and parameters stay on the device. */
  constructor(gpu: Gpu, sizes: Sizes, random: Random, { train, test, batch }: Lesson) {
    this.parameters = new Network(sizes, random).parameters.map(({ name, shape, data }) => ({
      ...{ name, shape, data: gpu.tensor(data), grad: gpu.tensor(data.length) },
    }));
    this.#sizes = sizes;
    this.#train = upload(gpu, train);
    this.#test = upload(gpu, test);
    this.#hits = gpu.tensor(test.length);
    this.#score = gpu.tensor(3);
    this.#activations = createActivations(gpu, sizes, Math.min(batch, train.length));
    this.#kernels = compile(gpu, sizes);
  }

  /** Queues the gradients of the mean loss over a batch, which replace those that were there. */
  gradients(batch: Batch): void {
    const rows = batch.length;
    const { inputs: from, hidden: via, outputs: to } = this.#sizes;
    const { images, labels, losses } = this.#train;
    const { inputs, hidden, hiddenGrad, outputGrad } = this.#activations;
    const [w1, b1, w2, b2] = this.parameters;
    const { train, hiddenLayer, outputLayer } = this.#kernels;
    const weights = this.parameters.map(({ data }) => data);
    const outs = [inputs, hidden, hiddenGrad, outputGrad, losses];
    train.dispatch([images, labels, ...weights, batch, ...outs], [rows]);
    const first = [inputs, { tensor: hiddenGrad, length: rows * via }, w1.grad, b1.grad];
    hiddenLayer.dispatch(first, [layerWorkgroups(from, via)]);
    const second = [hidden, { tensor: outputGrad, length: rows * to }, w2.grad, b2.grad];
    outputLayer.dispatch(second, [layerWorkgroups(via, to)]);
  }

  /** Tests the network and reads how the epoch went: three numbers. */
  async score(): Promise<GpuScore> {
    const { images, labels, losses, length } = this.#test;
    const weights = this.parameters.map(({ data }) => data);
    const { test, score } = this.#kernels;
    test.dispatch([images, labels, ...weights, losses, this.#hits], [length]);
    score.dispatch([this.#train.losses, losses, this.#hits, this.#score], [1]);
    const [trainLoss, testLoss, hits] = await this.#score.read();
    return {
      trainLoss: trainLoss / this.#train.length,
      testLoss: testLoss / length,
      testAccuracy: hits / length,
    };
  }
}

function upload(gpu: Gpu, { length, images, labels }: Dataset): DeviceImages {
  return {
    length,
    images: gpu.tensor(images),
    labels: gpu.tensor(Float32Array.from(labels)),
    losses: gpu.tensor(length),
  };
}

function createActivations(
  gpu: Gpu,
  { inputs, hidden, outputs }: Sizes,
  rows: number,
): Activations {
  return {
    inputs: gpu.tensor(rows * inputs),
    hidden: gpu.tensor(rows * hidden),
    hiddenGrad: gpu.tensor(rows * hidden),
    outputGrad: gpu.tensor(rows * outputs),
  };
}

function compile(gpu: Gpu, sizes: Sizes): Kernels {
  const { inputs, hidden, outputs } = sizes;
  const kernel = (code: string) => gpu.kernel({ code, entryPoint: "main" });
  return {
    train: kernel(trainingShader(sizes)),
    hiddenLayer: kernel(layerShader(inputs, hidden)),
    outputLayer: kernel(layerShader(hidden, outputs)),
    test: kernel(testShader(sizes)),
    score: kernel(SCORE_SHADER),
  };
}
