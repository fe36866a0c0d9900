/** One training run: its losses, and its momentum beside the exact momentum. */

import { type HostArray, type Parameter, SGD, type SGDOptions } from "@descent/sgd";
import { type Dataset, readDigits, split } from "../../examples/digits/dataset.ts";
import { openStream, permutation, STREAM } from "../../examples/digits/random.ts";
import { type Deviation, deviationOf } from "./deviation.ts";
import { Model } from "./model.ts";
import { type Format, LARGE, type Scheme } from "./schemes.ts";

/** The hyperparameters that a run has. */
export interface Setting {
  readonly lr: number;
  readonly momentum: number;
}

/** What the study trains with. */
export const SETTINGS: readonly Setting[] = [
  { momentum: 0.9, lr: 0.1 },
  { momentum: 0.99, lr: 0.01 },
];

const BATCH = 32;
const COMMON = { nesterov: true, weightDecay: 1e-4 };

/** What is added to a seed for another order of the images. */
const REORDERED = 1000;

/** What one epoch ended with. */
export interface Epoch extends Deviation {
  /** Mean loss over the training images, each as it was when the image came by. */
  readonly trainLoss: number;
  readonly testLoss: number;
}

/** What became of the momentum of a run after its gradients had become 0. */
export interface Fading {
  /** Steps until each element was exactly 0, or all that were taken. */
  readonly steps: number;
  /** The largest magnitude that was left. */
  readonly left: number;
}

const digits = await readDigits();

/** The images of a seed, as the demo splits them. */
function imagesOf(seed: number): { train: Dataset; test: Dataset } {
  return split(digits, openStream(seed, STREAM.split));
}

/** A run that is under way. */
export class Training {
  /** Decides the order of the images. */
  readonly #order: number;
  readonly #model: Model;
  readonly #optimizer: SGD<HostArray>;
  readonly #exact: Exact;
  readonly #images: { train: Dataset; test: Dataset };
  readonly #simulated: Format | undefined;

  /** @param backend Where Descent computes. */
  constructor(scheme: Scheme, setting: Setting, seed: number, backend?: SGDOptions["backend"]) {
    const { dtype, options, nudge, isReordered, simulated } = scheme;
    const all = { ...COMMON, ...setting, ...options, seed, backend };
    this.#order = seed + (isReordered ? REORDERED : 0);
    this.#model = new Model(seed, dtype, nudge);
    this.#optimizer = new SGD([...this.#model.parameters], all);
    this.#exact = new Exact(this.#model.parameters[0], this.#optimizer, all);
    this.#images = imagesOf(seed);
    this.#simulated = simulated;
  }

  /** The momentum buffer of the large layer. */
  get momentum(): Float32Array {
    return momentumOf(this.#optimizer, this.#model.parameters[0]);
  }

  /** Trains for one epoch, the first of which is 1. */
  runEpoch(epoch: number): Epoch {
    const { train, test } = this.#images;
    const order = permutation(openStream(this.#order, STREAM.epoch(epoch)), train.length);
    let loss = 0;
    for (let from = 0; from < order.length; from += BATCH) {
      const rows = order.subarray(from, from + BATCH);
      loss += this.#model.gradients(train, rows) * rows.length;
      this.#exact.step();
      this.#step();
    }
    return {
      trainLoss: loss / order.length,
      testLoss: this.#model.evaluate(test).loss,
      ...deviationOf(this.momentum, this.#exact.momentum),
    };
  }

  /** Steps on without gradients and without decay, until the momentum is 0 or for so many steps. */
  fade(most: number): Fading {
    this.#optimizer.paramGroups[0].weightDecay = 0;
    for (const { grad } of this.#model.parameters) grad!.fill(0);
    let steps = 0;
    for (; steps < most && this.momentum.some((value) => value !== 0); steps++) this.#step();
    return { steps, left: this.momentum.reduce((a, b) => Math.max(a, Math.abs(b)), 0) };
  }

  #step(): void {
    this.#optimizer.step();
    if (this.#simulated === undefined) return;
    for (const { momentumBuffer } of this.#optimizer.state.values()) {
      if (momentumBuffer!.length >= LARGE) this.#simulated(momentumBuffer as Float32Array);
    }
  }
}

/** The exact momentum of a parameter: an optimizer with the same weights and gradients, in float32. */
class Exact {
  readonly #own: Parameter<HostArray>;
  readonly #original: Parameter<HostArray>;
  readonly #originals: SGD<HostArray>;
  readonly #optimizer: SGD<HostArray>;

  constructor(
    original: Parameter<HostArray>,
    originals: SGD<HostArray>,
    options: SGDOptions & { lr: number },
  ) {
    const { data, grad } = original;
    this.#own = { data: data.slice(), grad };
    this.#original = original;
    this.#originals = originals;
    this.#optimizer = new SGD([this.#own], { ...options, momentumBits: 32 });
  }

  get momentum(): Float32Array {
    return momentumOf(this.#optimizer, this.#own);
  }

  /** To be called before each step of the original, whose weights and gradient it takes. */
  step(): void {
    this.#own.data.set(this.#original.data);
    const [from, to] = [
      this.#originals.state.get(this.#original),
      this.#optimizer.state.get(this.#own),
    ];
    if (from?.masterWeight) to!.masterWeight!.set(from.masterWeight);
    if (from?.correction) to!.correction!.set(from.correction);
    this.#optimizer.step();
  }
}

function momentumOf(optimizer: SGD<HostArray>, parameter: Parameter<HostArray>): Float32Array {
  const state = optimizer.state.get(parameter)!;
  return (state.momentumBuffer ?? state.readMomentum()) as Float32Array;
}
