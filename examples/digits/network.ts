/** A network with one hidden layer, in float32, with its backward pass written by hand. */

import type { Dataset } from "./dataset.ts";
import { uniform } from "./random.ts";
import type { Random } from "./random.ts";

type Vector = Float32Array;

/** A tensor of the network; what the optimizer steps. */
export interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Vector;
  readonly grad: Vector;
}

/** Makes a tensor of zeros, or finds one that is there already. */
export type TensorMaker = (name: string, shape: readonly number[]) => Tensor;

/** How well a network does on a data set. */
export interface Score {
  /** Mean cross-entropy, in nats. */
  readonly loss: number;
  /** How many images it recognizes. */
  readonly correct: number;
}

/** How many values there are between the layers. */
export interface Sizes {
  readonly inputs: number;
  readonly hidden: number;
  readonly outputs: number;
}

/**
 * `softmax(relu(x W1 + b1) W2 + b2)`, judged by its cross-entropy.
 *
 * Weights have the shape [from, to]; they start uniform in +-sqrt(6 / from), biases at 0.
 */
export class Network {
  /** W1, b1, W2, b2. */
  readonly parameters: readonly Tensor[];
  readonly #inputs: number;
  readonly #hidden: Vector;
  readonly #hiddenGrad: Vector;
  /** The outputs: scores, then probabilities, then the gradient of the loss by the scores. */
  readonly #outputs: Vector;

  /**
   * Makes a network.
   *
   * @param sizes How many values there are between the layers.
   * @param random Where the weights come from; null leaves them as `make` gives them.
   * @param make Makes each tensor.
   */
  constructor(
    { inputs, hidden, outputs }: Sizes,
    random: Random | null,
    make: TensorMaker = createTensor,
  ) {
    this.parameters = [
      make("hidden.weight", [inputs, hidden]),
      make("hidden.bias", [hidden]),
      make("output.weight", [hidden, outputs]),
      make("output.bias", [outputs]),
    ];
    if (random !== null) this.parameters.forEach((tensor) => drawWeights(tensor, random));
    this.#inputs = inputs;
    this.#hidden = new Float32Array(hidden);
    this.#hiddenGrad = new Float32Array(hidden);
    this.#outputs = new Float32Array(outputs);
  }

  /**
   * Adds the gradient of the mean loss over some images to the parameters' gradients.
   *
   * @param rows Which images of the data set; at least one.
   * @param count What sums are divided by, if that is not the number of images.
   * @returns The mean loss over these images.
   */
  lossAndGradients({ images, labels }: Dataset, rows: Uint32Array, count = rows.length): number {
    let loss = 0;
    for (const row of rows) {
      const image = images.subarray(row * this.#inputs, (row + 1) * this.#inputs);
      loss += this.#forward(image, labels[row]);
      this.#backward(image, labels[row], 1 / count);
    }
    return loss / count;
  }

  /** Scores the network on all images of a data set. */
  evaluate({ length, images, labels }: Dataset): Score {
    let loss = 0;
    let correct = 0;
    for (let row = 0; row < length; row++) {
      const image = images.subarray(row * this.#inputs, (row + 1) * this.#inputs);
      loss += this.#forward(image, labels[row]);
      if (indexOfMax(this.#outputs) === labels[row]) correct++;
    }
    return { loss: loss / length, correct };
  }

  /** Leaves the activations and the probabilities behind, and returns the loss. */
  #forward(image: Vector, label: number): number {
    const [w1, b1, w2, b2] = this.parameters;
    dense(image, w1.data, b1.data, this.#hidden);
    for (let i = 0; i < this.#hidden.length; i++) this.#hidden[i] = Math.max(this.#hidden[i], 0);
    dense(this.#hidden, w2.data, b2.data, this.#outputs);
    return softmaxCrossEntropy(this.#outputs, label);
  }

  /** Goes back through what the forward pass left behind. */
  #backward(image: Vector, label: number, weight: number): void {
    const [w1, b1, w2, b2] = this.parameters;
    const outputGrad = this.#outputs;
    outputGrad[label] -= 1;
    for (let i = 0; i < outputGrad.length; i++) outputGrad[i] *= weight;
    denseWeightsGrad(this.#hidden, outputGrad, w2.grad, b2.grad);
    denseInputGrad(w2.data, outputGrad, this.#hiddenGrad);
    for (let i = 0; i < this.#hidden.length; i++) {
      if (!(this.#hidden[i] > 0)) this.#hiddenGrad[i] = 0;
    }
    denseWeightsGrad(image, this.#hiddenGrad, w1.grad, b1.grad);
  }
}

/** A tensor of zeros. */
function createTensor(name: string, shape: readonly number[]): Tensor {
  const length = shape.reduce((product, size) => product * size, 1);
  return { name, shape, data: new Float32Array(length), grad: new Float32Array(length) };
}

/** Draws the elements of a matrix; biases stay as they are. */
function drawWeights({ shape, data }: Tensor, random: Random): void {
  if (shape.length < 2) return;
  const limit = Math.sqrt(6 / shape[0]);
  for (let i = 0; i < data.length; i++) data[i] = uniform(random, limit);
}

/** out <- x W + b */
function dense(x: Vector, weights: Vector, bias: Vector, out: Vector): void {
  out.set(bias);
  for (let i = 0, k = 0; i < x.length; i++) {
    for (let j = 0; j < out.length; j++, k++) out[j] += x[i] * weights[k];
  }
}

/** weightsGrad <- weightsGrad + x^T outGrad, biasGrad <- biasGrad + outGrad */
function denseWeightsGrad(
  x: Vector,
  outGrad: Vector,
  weightsGrad: Vector,
  biasGrad: Vector,
): void {
  for (let i = 0, k = 0; i < x.length; i++) {
    for (let j = 0; j < outGrad.length; j++, k++) weightsGrad[k] += x[i] * outGrad[j];
  }
  for (let j = 0; j < outGrad.length; j++) biasGrad[j] += outGrad[j];
}

/** xGrad <- W outGrad */
function denseInputGrad(weights: Vector, outGrad: Vector, xGrad: Vector): void {
  for (let i = 0, k = 0; i < xGrad.length; i++) {
    let sum = 0;
    for (let j = 0; j < outGrad.length; j++, k++) sum += weights[k] * outGrad[j];
    xGrad[i] = sum;
  }
}

/** Turns scores into probabilities, in place, and returns -log of the label's. */
function softmaxCrossEntropy(scores: Vector, label: number): number {
  const max = scores.reduce((a, b) => Math.max(a, b));
  const labelScore = scores[label] - max;
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i] - max);
  for (let i = 0; i < scores.length; i++) scores[i] = Math.exp(scores[i] - max) / sum;
  return Math.log(sum) - labelScore;
}

function indexOfMax(values: Vector): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
