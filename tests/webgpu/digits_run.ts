/** A short run of the browser's example, wherever it is. */

import { begin } from "../../examples/browser/training.ts";
import type { Place } from "../../examples/browser/training.ts";
import type { Dataset } from "../../examples/digits/dataset.ts";
import type { EpochResult } from "../../examples/digits/plot.ts";

const EPOCHS = 4;

/** Trains for a few epochs. */
export async function trainBriefly(place: Place, digits: Dataset): Promise<EpochResult[]> {
  const run = await begin(place, digits);
  const results: EpochResult[] = [];
  for (let epoch = 1; epoch <= EPOCHS; epoch++) results.push(await run.epoch(epoch));
  run.end();
  return results;
}
