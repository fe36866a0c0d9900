/** Trains a network on the digits and quantizes its two layers, one after the other. */

import { SGD } from "@descent/sgd";
import { CLASSES, PIXELS, split } from "../digits/dataset.ts";
import type { Dataset } from "../digits/dataset.ts";
import { Network } from "../digits/network.ts";
import { openStream, permutation, STREAM } from "../digits/random.ts";
import { trainEpoch } from "../digits/train.ts";
import { forward } from "./layer.ts";
import type { Layer } from "./layer.ts";
import type { AutoRoundOptions } from "./options.ts";
import { Quantizer } from "./quantizer.ts";
import { tune } from "./tune.ts";

const EPOCHS = 30;
const BATCH = 32;
/** Training images that the layers are tuned on. */
const CALIBRATION = 512;
/** The stream of random numbers that the samples of the tuning come from, past those of epochs. */
const TUNING = STREAM.epoch(EPOCHS + 1);

/** How one network did. Accuracies are shares of the test images. */
export interface Outcome {
  readonly seed: number;
  readonly float: number;
  /** Rounded to the nearest. */
  readonly nearest: number;
  readonly tuned: number;
  /** The reconstruction loss of the hidden and the output layer, before each step and at the end. */
  readonly losses: readonly (readonly number[])[];
}

/** Trains with one seed, quantizes in both ways, and scores all three on the test images. */
export function quantizeDigits(
  digits: Dataset,
  seed: number,
  options: Omit<AutoRoundOptions, "seeds" | "plot">,
): Outcome {
  const { train, test } = split(digits, openStream(seed, STREAM.split));
  const network = trainNetwork(train, seed, options);
  const score = () => network.evaluate(test).correct / test.length;
  const float = score();
  const layers = layersOf(network);
  const quantizers = layers.map(({ weights, bias }) =>
    new Quantizer(weights, bias.length, options.bits, options.perColumn)
  );
  const write = () =>
    quantizers.forEach((q, i) => network.parameters[2 * i].data.set(q.quantized()));
  write();
  const nearest = score();
  const losses = tuneLayers(layers, quantizers, train, seed, options.backend);
  write();
  return { seed, float, nearest, tuned: score(), losses };
}

function trainNetwork(
  train: Dataset,
  seed: number,
  { hidden, backend }: Pick<AutoRoundOptions, "hidden" | "backend">,
): Network {
  const network = new Network(
    { inputs: PIXELS, hidden, outputs: CLASSES },
    openStream(seed, STREAM.weights),
  );
  const optimizer = new SGD(network.parameters, {
    lr: 0.1,
    momentum: 0.9,
    weightDecay: 1e-4,
    backend,
  });
  for (let epoch = 1; epoch <= EPOCHS; epoch++) {
    const order = permutation(openStream(seed, STREAM.epoch(epoch)), train.length);
    trainEpoch(network, optimizer, train, order, BATCH);
  }
  return network;
}

/** The layers, with copies of their weights. */
function layersOf({ parameters: [w1, b1, w2, b2] }: Network): Layer[] {
  return [
    { weights: new Float32Array(w1.data), bias: new Float32Array(b1.data), relu: true },
    { weights: new Float32Array(w2.data), bias: new Float32Array(b2.data), relu: false },
  ];
}

/** Tunes each layer for what the quantized layers before it give, towards the float outputs. */
function tuneLayers(
  layers: readonly Layer[],
  quantizers: readonly Quantizer[],
  { images }: Dataset,
  seed: number,
  backend: AutoRoundOptions["backend"],
): number[][] {
  const random = openStream(seed, TUNING);
  const seen = images.slice(0, CALIBRATION * PIXELS);
  let [inputs, floats] = [seen, seen];
  return layers.map((layer, i) => {
    const targets = floats = forward(layer, floats);
    const losses = tune(
      quantizers[i],
      layer,
      { inputs, targets, rows: CALIBRATION },
      random,
      backend,
    );
    inputs = forward({ ...layer, weights: quantizers[i].quantized() }, inputs);
    return losses;
  });
}
