/** What the study compares: how momentum and weights are stored between steps. */

import type { SGDOptions } from "@descent/sgd";
import { bytesOf, decode, encodeNearest, scalesCount } from "../../src/core/momentum8.ts";
import { createMapped, decodeMapped, encodeMapped } from "./bitsandbytes.ts";
import { compand, createCompanded, expand } from "./flashoptim.ts";

/** From so many elements on, momentum is stored in 8 bits, by each of the schemes. */
export const LARGE = 4096;

/** Stores values in a format and reads them again, in place. */
export type Format = (values: Float32Array) => void;

/** How momentum and weights are stored. */
export interface Scheme {
  readonly name: string;
  /** The type of parameters and gradients. */
  readonly dtype: "float32" | "bfloat16";
  /** Descent's options, if it has the scheme. */
  readonly options: Partial<Pick<SGDOptions, "momentumBits" | "masterWeights">>;
  /** For a scheme that Descent does not have: what happens to a float32 buffer after each step. */
  readonly simulated?: Format;
  /** Bytes per element of a large momentum buffer and of the weights, gradients left out. */
  readonly bytes: readonly [momentum: number, weights: number];
  /** By how much each of the first weights is changed, relative to it. */
  readonly nudge?: number;
  /** Whether it sees the training images in another order than the other schemes. */
  readonly isReordered?: boolean;
}

const FLOAT32: Pick<Scheme, "dtype" | "options" | "bytes"> = {
  dtype: "float32",
  options: {},
  bytes: [4, 4],
};

/** Bytes per element of Descent's 8-bit momentum. */
const BYTES8 = bytesOf(2 ** 20) / 2 ** 20;

/** What everything is compared with. */
export const REFERENCE = "float32";

/** The float32 runs that show how much a difference of losses means. */
export const NOISE = ["float32, weights 1e-6 apart", "float32, images in another order"] as const;

/** All schemes; the first is what they are compared with. */
export const SCHEMES: readonly Scheme[] = [
  { ...FLOAT32, name: REFERENCE },
  { ...FLOAT32, name: NOISE[0], nudge: 1e-6 },
  { ...FLOAT32, name: NOISE[1], isReordered: true },
  { ...FLOAT32, name: "momentumBits: 8", options: { momentumBits: 8 }, bytes: [BYTES8, 4] },
  { ...FLOAT32, name: "8 bits, not dithered", simulated: undithered, bytes: [BYTES8, 4] },
  { ...FLOAT32, name: "FlashOptim int8", simulated: flashOptim, bytes: [1 + 2 / 32, 4] },
  { ...FLOAT32, name: "bitsandbytes dynamic", simulated: bitsandbytes, bytes: [1 + 4 / 256, 4] },
  {
    name: "bfloat16, masterWeights: true",
    dtype: "bfloat16",
    options: { masterWeights: true },
    bytes: [4, 6],
  },
  {
    name: 'bfloat16, masterWeights: "split"',
    dtype: "bfloat16",
    options: { masterWeights: "split" },
    bytes: [4, 4],
  },
  {
    name: 'bfloat16, masterWeights: "split24"',
    dtype: "bfloat16",
    options: { masterWeights: "split24" },
    bytes: [4, 3],
  },
  {
    name: 'bfloat16, "split24", momentumBits: 8',
    dtype: "bfloat16",
    options: { masterWeights: "split24", momentumBits: 8 },
    bytes: [BYTES8, 3],
  },
];

function undithered(values: Float32Array): void {
  const codes = new Int8Array(values.length);
  const scales = new Uint8Array(scalesCount(values.length));
  encodeNearest(values, codes, scales);
  decode(codes, scales, values);
}

function flashOptim(values: Float32Array): void {
  const companded = createCompanded(values.length);
  compand(values, companded);
  expand(companded, values);
}

function bitsandbytes(values: Float32Array): void {
  const mapped = createMapped(values.length);
  encodeMapped(values, mapped);
  decodeMapped(mapped, values);
}
