/** Runs of the demo that stop and go on: what is in their checkpoints. */

import { CheckpointError, loadState, saveState } from "@descent/sgd";
import type { SGD, StateDict } from "@descent/sgd";
import { UsageError } from "./options.ts";
import type { DemoOptions } from "./options.ts";
import type { EpochResult } from "./plot.ts";

/** A run that has been saved: all that decides how it goes on. */
export interface SavedRun {
  /** The optimizer and the network's parameters. */
  readonly dict: StateDict;
  readonly seed: number;
  readonly batch: number;
  /** The epochs so far. */
  readonly history: readonly EpochResult[];
}

/** Saves a run after an epoch. */
export async function saveRun(
  path: string,
  optimizer: SGD,
  { seed, batch }: DemoOptions,
  history: readonly EpochResult[],
): Promise<void> {
  const metadata = { digits: JSON.stringify({ seed, batch, history }) };
  try {
    await saveState(path, optimizer, { parameters: true, metadata });
  } catch (error) {
    throw error instanceof CheckpointError ? new UsageError(error.message) : error;
  }
}

/** Loads a run of the demo. */
export async function loadRun(path: string): Promise<SavedRun> {
  const dict = await loadState(path).catch((error: unknown) => {
    if (error instanceof CheckpointError) throw new UsageError(error.message);
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`Cannot resume ${path} as there is no such file`);
    }
    throw error;
  });
  const notes = dict.metadata?.digits;
  if (notes === undefined) {
    throw new UsageError(`Cannot resume ${path} as it is no checkpoint of the demo`);
  }
  return { dict, ...JSON.parse(notes) };
}

/**
 * The options with which a saved run goes on: its own, and the backend, the number of epochs and
 * the files of the command line.
 *
 * @throws {UsageError} If the command line asks for something else, or for no more epochs.
 */
export function continueWith(options: DemoOptions, saved: SavedRun): DemoOptions {
  const { lr, momentum, weight_decay, nesterov, sign } = saved.dict.param_groups[0];
  const own: Record<string, unknown> = {
    lr,
    momentum,
    "weight-decay": weight_decay,
    nesterov,
    sign,
    seed: saved.seed,
    batch: saved.batch,
  };
  const asked: Record<string, unknown> = {
    ...options.sgd,
    "weight-decay": options.sgd.weightDecay,
    seed: options.seed,
    batch: options.batch,
  };
  for (const name of options.given) {
    if (name in own && asked[name] !== own[name]) {
      throw new UsageError(
        `Cannot set --${name} as the run in ${options.resume} goes on with ${own[name]}: ` +
          `current value is ${asked[name]}`,
      );
    }
  }
  if (saved.history.length >= options.epochs) {
    throw new UsageError(
      `Cannot resume ${options.resume} as it has had ${saved.history.length} epochs: ` +
        `--epochs must be more, and is ${options.epochs}`,
    );
  }
  const sgd = { ...options.sgd, lr, momentum, weightDecay: weight_decay, nesterov, sign };
  return { ...options, sgd, seed: saved.seed, batch: saved.batch };
}
