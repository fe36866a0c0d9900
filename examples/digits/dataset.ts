/** The handwritten digits: reading them, and splitting them into training and test images. */

import { permutation } from "./random.ts";
import type { Random } from "./random.ts";

/** Pixels of an image. */
export const PIXELS = 64;

/** Digits that an image can show. */
export const CLASSES = 10;

/** How many images are kept for the test. */
export const TEST_IMAGES = 360;

/** Labelled images. */
export interface Dataset {
  /** How many images there are. */
  readonly length: number;
  /** Their pixels, [length, 64], from 0 (paper) to 1 (ink). */
  readonly images: Float32Array<ArrayBuffer>;
  /** The digits they show, [length]. */
  readonly labels: Uint8Array<ArrayBuffer>;
}

const SHADES = "0123456789abcdefg";

/** Reads the images that lie beside this program. */
export async function readDigits(): Promise<Dataset> {
  return parseDigits(await Deno.readTextFile(new URL("./data/digits.txt", import.meta.url)));
}

/**
 * Reads one image per line: 64 shades from 0 to g, a space, and the digit.
 *
 * @throws {SyntaxError} If a line looks otherwise.
 */
export function parseDigits(text: string): Dataset {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  const images = new Float32Array(lines.length * PIXELS);
  const labels = new Uint8Array(lines.length);
  for (const [i, line] of lines.entries()) {
    if (!/^[0-9a-g]{64} [0-9]$/.test(line)) {
      throw new SyntaxError(`Cannot read line ${i + 1} of the digits: it is "${line}"`);
    }
    for (let k = 0; k < PIXELS; k++) images[i * PIXELS + k] = SHADES.indexOf(line[k]) / 16;
    labels[i] = Number(line[PIXELS + 1]);
  }
  return { length: lines.length, images, labels };
}

/** Shuffles the images and keeps the first `TEST_IMAGES` for the test. */
export function split(dataset: Dataset, random: Random): { train: Dataset; test: Dataset } {
  const order = permutation(random, dataset.length);
  return {
    test: pick(dataset, order.subarray(0, TEST_IMAGES)),
    train: pick(dataset, order.subarray(TEST_IMAGES)),
  };
}

function pick({ images, labels }: Dataset, rows: Uint32Array): Dataset {
  const picked = {
    length: rows.length,
    images: new Float32Array(rows.length * PIXELS),
    labels: new Uint8Array(rows.length),
  };
  for (const [i, row] of rows.entries()) {
    picked.images.set(images.subarray(row * PIXELS, (row + 1) * PIXELS), i * PIXELS);
    picked.labels[i] = labels[row];
  }
  return picked;
}
