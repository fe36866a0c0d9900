/** The network of the demo with everything that belongs to it on the GPU. */

import type { Dataset } from "../dataset.ts";
import { Network } from "../network.ts";
import type { Sizes } from "../network.ts";
import type { Random } from "../random.ts";
import type { Compute, ComputeTensor, Dispatch, View } from "./compute.ts";
import {
  hiddenLayerShader,
  layerWorkgroups,
  outputLayerShader,
  recordLength,
  SCORE_SHADER,
  testShader,
  trainingShader,
} from "./shaders.ts";

/** A tensor of the network; what the optimizer steps. */
export interface GpuParameter<T extends ComputeTensor> {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: T;
  readonly grad: T;
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
interface DeviceImages<T> {
  readonly length: number;
  /** A row per image: its pixels, then its label. */
  readonly images: T;
  readonly losses: T;
}

interface Kernels<T> {
  readonly train: Dispatch<T>;
  readonly hiddenLayer: Dispatch<T>;
  readonly outputLayer: Dispatch<T>;
  readonly test: Dispatch<T>;
  readonly score: Dispatch<T>;
}

/** `softmax(relu(x W1 + b1) W2 + b2)` on the device, with the first weights of the main demo. */
export class GpuNetwork<T extends ComputeTensor> {
  /** W1, b1, W2, b2. */
  readonly parameters: readonly GpuParameter<T>[];
  readonly #sizes: Sizes;
  readonly #train: DeviceImages<T>;
  readonly #test: DeviceImages<T>;
  readonly #hits: T;
  /** The sums of the training losses, the test losses and the hits. */
  readonly #score: T;
  /** What a batch leaves for the layers' gradients, a record per image. */
  readonly #records: T;
  readonly #kernels: Kernels<T>;

  /** Uploads everything; from here on images and parameters stay on the device. */
  constructor(gpu: Compute<T>, sizes: Sizes, random: Random, { train, test, batch }: Lesson) {
    this.parameters = new Network(sizes, random).parameters.map(({ name, shape, data }) => ({
      ...{ name, shape, data: gpu.tensor(data), grad: gpu.tensor(data.length) },
    }));
    this.#sizes = sizes;
    this.#train = upload(gpu, train);
    this.#test = upload(gpu, test);
    this.#hits = gpu.tensor(test.length);
    this.#score = gpu.tensor(3);
    this.#records = gpu.tensor(Math.min(batch, train.length) * recordLength(sizes));
    this.#kernels = compile(gpu, sizes);
  }

  /** Queues the gradients of the mean loss over a batch, which replace those that were there. */
  gradients(batch: View<T>): void {
    const { inputs, hidden, outputs } = this.#sizes;
    const { images, losses } = this.#train;
    const [w1, b1, w2, b2] = this.parameters;
    const weights = this.parameters.map(({ data }) => data);
    const { train, hiddenLayer, outputLayer } = this.#kernels;
    const shown = [batch, this.#records];
    train([images, ...weights, ...shown, losses], batch.length);
    hiddenLayer([...shown, w1.grad, b1.grad, images], layerWorkgroups(inputs, hidden));
    outputLayer([...shown, w2.grad, b2.grad], layerWorkgroups(hidden, outputs));
  }

  /** Tests the network and reads how the epoch went: three numbers. */
  async score(): Promise<GpuScore> {
    const { images, losses, length } = this.#test;
    const weights = this.parameters.map(({ data }) => data);
    const { test, score } = this.#kernels;
    test([images, ...weights, losses, this.#hits], length);
    score([this.#train.losses, losses, this.#hits, this.#score], 1);
    const [trainLoss, testLoss, hits] = await this.#score.read();
    return {
      trainLoss: trainLoss / this.#train.length,
      testLoss: testLoss / length,
      testAccuracy: hits / length,
    };
  }
}

function upload<T extends ComputeTensor>(
  gpu: Compute<T>,
  { length, images, labels }: Dataset,
): DeviceImages<T> {
  const pixels = images.length / length;
  const rows = new Float32Array(length * (pixels + 1));
  for (let i = 0; i < length; i++) {
    rows.set(images.subarray(i * pixels, (i + 1) * pixels), i * (pixels + 1));
    rows[i * (pixels + 1) + pixels] = labels[i];
  }
  return { length, images: gpu.tensor(rows), losses: gpu.tensor(length) };
}

function compile<T extends ComputeTensor>(gpu: Compute<T>, sizes: Sizes): Kernels<T> {
  return {
    train: gpu.kernel(trainingShader(sizes)),
    hiddenLayer: gpu.kernel(hiddenLayerShader(sizes)),
    outputLayer: gpu.kernel(outputLayerShader(sizes)),
    test: gpu.kernel(testShader(sizes)),
    score: gpu.kernel(SCORE_SHADER),
  };
}
