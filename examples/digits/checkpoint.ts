/** The checkpoints of the demo: what a stopped run resumes from. */

import { CheckpointError, loadState, saveState } from "@descent/sgd";
import type { SGD, SGDOptions, StateDict } from "@descent/sgd";
import { BACKENDS, LIMITS, UsageError } from "./options.ts";
import type { DemoOptions } from "./options.ts";
import type { EpochResult } from "./plot.ts";

/** A run that has been saved: everything that decides how it continues. */
export interface SavedRun extends Notes {
  /** The optimizer and the network's parameters. */
  readonly dict: StateDict;
}

/** What a checkpoint of the demo has beside the optimizer. */
interface Notes {
  readonly seed: number;
  readonly batch: number;
  /** The epochs that were asked for. */
  readonly epochs: number;
  readonly backend: SGDOptions["backend"];
  /** The epochs so far. */
  readonly history: readonly EpochResult[];
}

/** Saves a run after an epoch. */
export async function saveRun(
  path: string,
  optimizer: SGD,
  { seed, batch, epochs, sgd: { backend } }: DemoOptions,
  history: readonly EpochResult[],
): Promise<void> {
  const notes: Notes = { seed, batch, epochs, backend, history };
  const metadata = { digits: JSON.stringify(notes) };
  try {
    await saveState(path, optimizer, { parameters: true, metadata });
  } catch (error) {
    throw error instanceof CheckpointError ? new UsageError(error.message) : error;
  }
}

/**
 * Loads a run of the demo.
 *
 * @throws {UsageError} If there is none in the file.
 */
export async function loadRun(path: string): Promise<SavedRun> {
  const dict = await loadState(path).catch((error: unknown) => {
    if (error instanceof CheckpointError) throw new UsageError(error.message);
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`Cannot resume ${path} as there is no such file`);
    }
    throw error;
  });
  const notes = parseNotes(dict.metadata?.digits ?? "");
  if (notes === null || dict.param_groups.length !== 1) {
    throw new UsageError(`Cannot resume ${path} as it is not a checkpoint of the demo`);
  }
  return { ...notes, dict };
}

/** The notes of a run; null if the text, which may come from anywhere, is something else. */
function parseNotes(text: string): Notes | null {
  try {
    const { seed, batch, epochs, backend, history } = JSON.parse(text);
    const isRun = isInteger("seed", seed) && isInteger("batch", batch) &&
      isInteger("epochs", epochs) && BACKENDS.includes(backend) &&
      Array.isArray(history) && history.length > 0 && history.every(isResult);
    return isRun ? { seed, batch, epochs, backend, history } : null;
  } catch {
    return null;
  }
}

function isInteger(name: keyof typeof LIMITS, value: unknown): boolean {
  const [min, max] = LIMITS[name];
  return Number.isInteger(value) && value as number >= min && value as number <= max;
}

function isResult(result: Partial<EpochResult> | null, i: number): boolean {
  return result?.epoch === i + 1 &&
    [result.trainLoss, result.testLoss, result.testAccuracy].every(Number.isFinite);
}

/**
 * The options with which a saved run resumes: its own, and the files of the command line. The
 * command line may set another backend and another number of epochs.
 *
 * @throws {UsageError} If the command line sets something else, or a number of epochs that is over.
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
        `Cannot set --${name} as the run in ${options.resume} continues with ${own[name]}: ` +
          `current value is ${asked[name]}`,
      );
    }
  }
  const given = (name: string) => options.given.includes(name);
  if (given("epochs") && saved.history.length >= options.epochs) {
    throw new UsageError(
      `Cannot resume ${options.resume} as it has had ${saved.history.length} epochs: ` +
        `--epochs must be more, and is ${options.epochs}`,
    );
  }
  const backend = given("backend") ? options.sgd.backend : saved.backend;
  const epochs = given("epochs") ? options.epochs : saved.epochs;
  const sgd = { lr, momentum, weightDecay: weight_decay, nesterov, sign, backend };
  return { ...options, sgd, epochs, seed: saved.seed, batch: saved.batch };
}
