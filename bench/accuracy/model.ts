/** The network of the digits demo, with parameters in the type that an optimizer is to step. */

import { BFloat16Array, type HostArray, type Parameter } from "@descent/sgd";
import { CLASSES, type Dataset, PIXELS } from "../../examples/digits/dataset.ts";
import { Network, type Score, type Tensor } from "../../examples/digits/network.ts";
import { openStream, STREAM, uniform } from "../../examples/digits/random.ts";

const HIDDEN = 64;

/** A stream of random numbers that the demo does not use. */
const NUDGES = 2 ** 10;

/** The network computes in float32; bfloat16 parameters are widened for it, gradients narrowed. */
export class Model {
  /** What an optimizer steps. */
  readonly parameters: readonly Parameter<HostArray>[];
  readonly #network: Network;

  /**
   * @param seed Decides the first weights.
   * @param nudge By how much they are changed, relative to themselves, up or down at random.
   */
  constructor(seed: number, dtype: "float32" | "bfloat16", nudge: number = 0) {
    const sizes = { inputs: PIXELS, hidden: HIDDEN, outputs: CLASSES };
    this.#network = new Network(sizes, openStream(seed, STREAM.weights));
    const tensors = this.#network.parameters;
    if (nudge > 0) nudgeAll(tensors, seed, nudge);
    this.parameters = dtype === "float32" ? tensors : tensors.map(narrow);
    this.#load();
  }

  /** Puts the gradients of the mean loss over some images into the parameters; returns the loss. */
  gradients(images: Dataset, rows: Uint32Array): number {
    this.#load();
    for (const { grad } of this.#network.parameters) grad.fill(0);
    const loss = this.#network.lossAndGradients(images, rows);
    for (const [i, { grad }] of this.#network.parameters.entries()) {
      const target = this.parameters[i].grad;
      if (target instanceof BFloat16Array) target.set(BFloat16Array.from(grad));
    }
    return loss;
  }

  /** Scores the network on all images of a data set. */
  evaluate(images: Dataset): Score {
    this.#load();
    return this.#network.evaluate(images);
  }

  /** Gives the network the values of the parameters, if it does not compute with these themselves. */
  #load(): void {
    for (const [i, { data }] of this.parameters.entries()) {
      if (data instanceof BFloat16Array) {
        this.#network.parameters[i].data.set(data.toFloat32Array());
      }
    }
  }
}

function nudgeAll(tensors: readonly Tensor[], seed: number, nudge: number): void {
  const random = openStream(seed, NUDGES);
  for (const { data } of tensors) {
    for (let i = 0; i < data.length; i++) data[i] *= 1 + Math.sign(uniform(random, 1)) * nudge;
  }
}

function narrow({ name, data }: Tensor): Parameter<BFloat16Array> {
  return { name, data: BFloat16Array.from(data), grad: new BFloat16Array(data.length) };
}
