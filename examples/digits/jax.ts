/** What the example with jax-js takes from the others, as arrays of jax-js: images, labels, weights. */

import { defaultDevice, init, numpy as np } from "@jax-js/jax";
import { CLASSES, type Dataset, PIXELS, readDigits, split } from "./dataset.ts";
import { Network } from "./network.ts";
import type { Tensor } from "./network.ts";
import { openStream, permutation, STREAM } from "./random.ts";

const SEED = 1;

/** Some images, [images, 64], and their digits as ones among zeros, [images, 10]. */
export interface Batch {
  readonly x: np.Array;
  readonly y: np.Array;
  /** How large a part of the epoch they are. */
  readonly share: number;
}

/**
 * Has jax-js compute on a device from now on.
 *
 * @throws {Error} If it cannot.
 */
export async function startJax(device: "wasm" | "webgpu"): Promise<void> {
  if (!(await init(device)).includes(device)) throw new Error(`jax-js cannot use ${device} here`);
  defaultDevice(device);
}

/** Weights and biases of a network with 64 hidden units: those that the demo begins with. */
export function createWeights(): readonly Tensor[] {
  const sizes = { inputs: PIXELS, hidden: 64, outputs: CLASSES };
  return new Network(sizes, openStream(SEED, STREAM.weights)).parameters;
}

/** The images for training, in batches and in the order of an epoch, and all those for the test. */
export async function readBatches(size: number) {
  const { train, test } = split(await readDigits(), openStream(SEED, STREAM.split));
  return {
    *train(epoch: number): Generator<Batch> {
      const order = permutation(openStream(SEED, STREAM.epoch(epoch)), train.length);
      for (let from = 0; from < order.length; from += size) {
        yield batchOf(train, order.subarray(from, from + size));
      }
    },
    test: (): Batch => batchOf(test, Uint32Array.from(test.labels.keys())),
  };
}

function batchOf({ length, images, labels }: Dataset, rows: Uint32Array): Batch {
  const x = new Float32Array(rows.length * PIXELS);
  const y = new Float32Array(rows.length * CLASSES);
  rows.forEach((row, i) => {
    x.set(images.subarray(row * PIXELS, (row + 1) * PIXELS), i * PIXELS);
    y[i * CLASSES + labels[row]] = 1;
  });
  return {
    x: toArray({ data: x, shape: [rows.length, PIXELS] }),
    y: toArray({ data: y, shape: [rows.length, CLASSES] }),
    share: rows.length / length,
  };
}

/** An array of jax-js with copies of elements. */
export function toArray({ data, shape }: Pick<Tensor, "data" | "shape">): np.Array {
  return np.array(data as Float32Array<ArrayBuffer>).reshape([...shape]);
}

/** The value of an array with one element, for which nobody has to block on a GPU. */
export async function valueOf(array: np.Array): Promise<number> {
  return (defaultDevice() === "webgpu" ? await array.data() : array.dataSync())[0];
}
