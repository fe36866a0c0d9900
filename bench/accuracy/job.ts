/** One training run of the study, as a worker is asked for it. */

import { SCHEMES } from "./schemes.ts";
import { type Epoch, type Fading, type Setting, Training } from "./training.ts";

/** What to train. */
export interface Job {
  /** The name of the scheme. */
  readonly scheme: string;
  readonly setting: Setting;
  readonly seed: number;
  readonly epochs: number;
  /** Steps without gradients that the momentum has afterwards to become 0; none if it is null. */
  readonly fade: number | null;
}

/** What became of it. */
export interface JobResult {
  readonly epochs: readonly Epoch[];
  readonly fading: Fading | null;
}

/** Trains for all epochs. */
export function runJob({ scheme, setting, seed, epochs, fade }: Job): JobResult {
  const training = new Training(SCHEMES.find(({ name }) => name === scheme)!, setting, seed);
  return {
    epochs: Array.from({ length: epochs }, (_, i) => training.runEpoch(i + 1)),
    fading: fade === null ? null : training.fade(fade),
  };
}
