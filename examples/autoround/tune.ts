/** AutoRound: tunes the quantizer of a layer by signed gradient descent. */

import { SGD } from "@descent/sgd";
import type { SGDOptions } from "@descent/sgd";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import type { Random } from "../digits/random.ts";
import { reconstruction } from "./layer.ts";
import type { Layer } from "./layer.ts";
import type { Quantizer } from "./quantizer.ts";

type Vector = Float32Array<ArrayBuffer>;

/** Steps of the tuning. */
export const STEPS = 200;

/** Rows of a step's sample. */
const BATCH = 32;

/** What the layer gets and what it should give, row by row. */
export interface Calibration {
  readonly inputs: Vector;
  readonly targets: Vector;
  readonly rows: number;
}

/**
 * Leaves the quantizer with the offsets and ranges that did best.
 *
 * Each step samples rows, goes down along the signs of the gradients of the reconstruction loss, and
 * clamps. lr falls linearly from 1 / STEPS to 0, so that an offset can just go from 0 to +-0.5.
 *
 * @returns The loss over all rows before each step and after the last.
 */
export function tune(
  quantizer: Quantizer,
  layer: Layer,
  calibration: Calibration,
  random: Random,
  backend?: SGDOptions["backend"],
): number[] {
  const { tunables } = quantizer;
  const optimizer = new SGD(tunables, { lr: 1 / STEPS, sign: true, backend });
  const losses: number[] = [];
  let [best, kept] = [Infinity, tunables.map(({ data }) => data.slice())];
  const look = () => {
    const { loss } = reconstruct(quantizer, layer, calibration);
    losses.push(loss);
    if (loss < best) [best, kept] = [loss, tunables.map(({ data }) => data.slice())];
  };
  for (let step = 0; step < STEPS; step++) {
    look();
    optimizer.paramGroups[0].lr = (1 - step / STEPS) / STEPS;
    quantizer.backward(reconstruct(quantizer, layer, sample(calibration, random)).grad);
    optimizer.step();
    quantizer.clamp();
  }
  look();
  tunables.forEach(({ data }, i) => data.set(kept[i]));
  return losses;
}

function reconstruct(quantizer: Quantizer, layer: Layer, { inputs, targets }: Calibration) {
  return reconstruction({ ...layer, weights: quantizer.quantized() }, inputs, targets);
}

function sample({ inputs, targets, rows }: Calibration, random: Random): Calibration {
  const picked = Array.from({ length: BATCH }, () => uniformInt(random, 0, rows - 1));
  const pick = (all: Vector) => {
    const side = all.length / rows;
    const out = new Float32Array(BATCH * side);
    picked.forEach((row, i) => out.set(all.subarray(row * side, (row + 1) * side), i * side));
    return out;
  };
  return { inputs: pick(inputs), targets: pick(targets), rows: BATCH };
}
