/** Checkpoint files: state on disk, written so that no crash can spoil it. */

import type { SGDWorld } from "../core/exchange.ts";
import { checkFiles } from "../core/runtime.ts";
import { cannot, checkBoolean, checkOptions, isPlainObject, wrongType } from "../core/validate.ts";
import { toPath } from "../files/file_path.ts";
import { files } from "../files/files.ts";
import type { OpenFile } from "../files/files.ts";
import { withFloat32Momentum } from "../state/convert.ts";
import { checkStateDict } from "../state/dict.ts";
import type { StateDict } from "../state/dict.ts";
import type { GradScalerStateDict, LRSchedulerStateDict } from "../state/extras.ts";
import { writeOwner } from "../state/rank_owner.ts";
import { stateSourceOf } from "../state/source.ts";
import type { StateSource } from "../state/source.ts";
import { averageSourceOf } from "../state/weight_average.ts";
import type { WeightAverageStateDict } from "../state/weight_average.ts";
import { checkStateDictOptions } from "../state/take.ts";
import type { StateDictOptions } from "../state/take.ts";
import { explain, removeStaleTemporaries } from "./atomic_file.ts";
import type { Replacing } from "./atomic_file.ts";
import { layOutState, layOutWeights } from "./encoding.ts";
import { openFile } from "./open_file.ts";
import { PieceReader } from "./piece_reader.ts";
import type { Progress } from "./piece_reader.ts";
import { saveJointly } from "./joint_save.ts";
import { loadRank } from "./rank_files.ts";
import { readState } from "./read_state.ts";
import { PREFIX, readHeaderLength } from "./safetensors.ts";
import { remoteState } from "./remote_state.ts";
import { writeLayout } from "./write_layout.ts";
export type { Progress } from "./piece_reader.ts";

/**
 * The options of `loadState`.
 *
 * @category Checkpoints
 */
export interface LoadStateOptions {
  /** Called after each piece. */
  onProgress?: (progress: Progress) => void;
  /**
   * The world of the optimizer that takes the state. It matters with exchange `"signs"`, where each rank
   * has a momentum of its own: a rank gets what it has saved, and if another number of ranks has saved the
   * state, all get the mean. What was saved with another exchange is the same with a world and without.
   */
  world?: SGDWorld;
}

/**
 * The options of `saveState`.
 *
 * @category Checkpoints
 */
export interface SaveStateOptions extends Pick<LoadStateOptions, "onProgress"> {
  /** Whether an optimizer's parameters go into the file too, values and all. @default {false} */
  parameters?: boolean;
  /**
   * `false`, with `parameters: true`: the file has the weights alone, under their names, which
   * `loadTensors` of `@descent/sgd/safetensors` and every other reader of safetensors opens. `loadState`
   * refuses it.
   * @default {true}
   */
  state?: boolean;
  /**
   * `"float32"`: momentum in 8 bits is decoded to momentum buffers of float32, as torch has them, which
   * takes memory for them; also that of a state dict.
   * @default {"stored"}
   */
  momentum?: StateDictOptions["momentum"];
  /** A scheduler whose state goes into the file too, as `lr_scheduler`. */
  scheduler?: StatefulScheduler;
  /** A `GradScaler` whose state goes into the file too, as `grad_scaler`, if it is enabled. */
  scaler?: StatefulScaler;
  /** A `WeightAverage` whose state goes into the file too, as `weight_average`. */
  average?: StatefulAverage;
  /** Notes of the caller's own, such as the epoch. */
  metadata?: Readonly<Record<string, string>>;
}

/**
 * An optimizer, as far as saving it goes.
 *
 * @category Checkpoints
 */
export interface Stateful {
  /** Its state. */
  stateDict(options?: StateDictOptions): StateDict;
}

/**
 * A scheduler, as far as saving it goes.
 *
 * @category Checkpoints
 */
export interface StatefulScheduler {
  /** Its state. */
  stateDict(): LRSchedulerStateDict;
}

/**
 * A scaler, as far as saving it goes.
 *
 * @category Checkpoints
 */
export interface StatefulScaler {
  /** Its state. */
  stateDict(): GradScalerStateDict;
}

/**
 * An average of weights, as far as saving it goes.
 *
 * @category Checkpoints
 */
export interface StatefulAverage {
  /** Its state. */
  stateDict(): WeightAverageStateDict;
}

/**
 * Saves the state of an optimizer, or a state dict, as a safetensors file.
 *
 * A crash at any moment leaves the file that was there or the new one in full, and a killed process
 * leaves nothing behind that the next `saveState` or `loadState` of that file would not remove. When
 * the promise is fulfilled the file is on disk. It is written in pieces from the arrays themselves,
 * without a copy of them, so nothing may write to them until the promise settles: what is written to
 * a dict's array or to a parameter's data meanwhile is in the file or is not. If the optimizer steps,
 * loads a state or gets a group meanwhile, the promise is rejected and the old file stays.
 *
 * If the optimizer has a world of several ranks, with exchange `"gradients"` any rank can save, as each
 * has everything. With `"shards"` or `"signs"` all ranks call this, and wait for each other: when the
 * promise is fulfilled, the files of all ranks are there, and if one rank cannot write, all throw, and
 * the old files stay. Until then the world refuses everything else. With `"shards"` rank 0 writes one file,
 * which has the state of all. With `"signs"` each rank writes its own momentum, rank 0 to `path` and the
 * others to `path.rank-1` and so on; a crash leaves the files of one save, and `loadState` finds them.
 *
 * Needs Deno, with read and write permission for the folder of the file, Node.js or Bun; elsewhere
 * `encodeStateDict` makes the bytes.
 *
 * @param path The file. Two processes may save to it: the last one wins.
 * @param source An optimizer or a state dict; a dict is saved as it is, parameters included, but for what `momentum` asks.
 * @param options What goes into the file, and who is told of the progress.
 * @throws {CheckpointError} If the system does not let the file be written: a full disk, a missing
 * or read-only folder, a directory in its place. The message says which, and the old file stays. Where all
 * ranks of a world save together, all of them throw it, and the message names the rank.
 * @throws {WorldError} If all ranks of a world have to save together, and one does something else or ends.
 * @throws {TypeError} If the state is not valid, two tensors have the same name, or with `state: false`
 * an option is given that needs state.
 * @throws {Error} If the optimizer has stepped meanwhile, or an array was detached.
 *
 * @example
 * ```ts
 * import { loadState, saveState, SGD } from "@descent/sgd";
 *
 * const w = { data: new Float32Array([1, 2]), grad: new Float32Array([0.5, -0.5]), name: "w" };
 * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
 * optimizer.step();
 *
 * const path = await Deno.makeTempFile();
 * await saveState(path, optimizer, { parameters: true, metadata: { epoch: "3" } });
 *
 * const dict = await loadState(path);
 * optimizer.loadStateDict(dict, { parameters: true });
 * console.log(dict.metadata?.epoch); // 3
 * ```
 *
 * @category Checkpoints
 */
export async function saveState(
  path: string | URL,
  source: Stateful | StateDict,
  options: SaveStateOptions = {},
): Promise<void> {
  checkFiles("save the state", "use encodeStateDict and write its bytes");
  checkOptions(options, [
    ...["parameters", "state", "momentum", "scheduler", "scaler", "average", "metadata"],
    "onProgress",
  ]);
  const { onProgress, metadata, parameters, momentum, state = true } = options;
  checkBoolean("state", state);
  if (!state) checkWeightsAlone(options);
  const file = toPath(path);
  const lr_scheduler = stateOf("scheduler", options.scheduler);
  const grad_scaler = stateOf("scaler", options.scaler);
  const average = readAverage(options.average);
  const others = {
    ...(lr_scheduler && { lr_scheduler }),
    ...(hasState(grad_scaler) && { grad_scaler }),
    ...(average && { weight_average: average.dict }),
  };
  const live = stateSource(source);
  checkStateDictOptions({ parameters, momentum });
  const joint = live?.join?.(state ? momentum ?? "stored" : "weights") ?? null;
  const remote = joint?.isRead ? remoteState(joint) : undefined;
  const write = async (path: string, how: Replacing = {}) => {
    const { dict, check } = await read(source, { parameters, momentum }, state);
    const noted = joint?.owner ? { ...metadata, ...writeOwner(joint.owner) } : metadata;
    const notes = noted === undefined ? {} : { metadata: noted };
    const all = { ...dict, ...others, ...notes };
    const layout = state ? layOutState(all) : layOutWeights(all);
    const checkAll = () => {
      check();
      average?.check();
    };
    await writeLayout(path, layout, {
      ...{ doing: "save the state", check: checkAll, onProgress, remote },
      ...how,
    });
  };
  await (joint === null ? write(file) : saveJointly(joint, file, write));
}

/** Refuses options that a file without state cannot serve. */
function checkWeightsAlone(options: SaveStateOptions): void {
  const { parameters } = options;
  if (parameters !== true) {
    throw wrongType("save the state", "parameters must be true if state is false", parameters);
  }
  for (const key of ["momentum", "scheduler", "scaler", "average"] as const) {
    if (options[key] === undefined) continue;
    const reason = `${key} must not be given if state is false`;
    throw wrongType("save the state", reason, options[key]);
  }
}

/**
 * Loads what `saveState` has saved. The file may be hostile: everything is checked before it is
 * used, and no more memory is taken than the file is long.
 *
 * Needs Deno, with read permission for the file, Node.js or Bun; elsewhere `decodeStateDict` takes the
 * bytes. Where there is write permission for its folder, what a killed process left there of saving
 * this file is removed.
 *
 * @param path The file.
 * @param options A callback for the progress, and the world of ranks that vote on signs.
 * @returns The state dict, for `loadStateDict`.
 * @throws {CheckpointError} If it is not a valid checkpoint or cannot be read; the message names the
 * file and the place in it. With a world, also if a rank's file is missing or of another save.
 * @throws {TypeError} If `world` was not made by `openWorld`.
 * @throws {Deno.errors.NotFound} If there is no file; in Node.js and Bun, an error with code `ENOENT`.
 *
 * @example Resume if there is a checkpoint
 * ```ts
 * import { loadState, SGD } from "@descent/sgd";
 *
 * const w = { data: new Float32Array([1, 2]), grad: null, name: "w" };
 * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
 * try {
 *   optimizer.loadStateDict(await loadState("no-such-run.safetensors"), { parameters: true });
 * } catch (error) {
 *   if (!(error instanceof Deno.errors.NotFound)) throw error;
 * }
 * ```
 *
 * @category Checkpoints
 */
export async function loadState(
  path: string | URL,
  options: LoadStateOptions = {},
): Promise<StateDict> {
  checkFiles("load the state", "read the bytes and use decodeStateDict");
  checkOptions(options, ["onProgress", "world"]);
  const name = toPath(path);
  const { world, onProgress } = options;
  if (world === undefined) return await loadFile(name, onProgress);
  return await loadRank(name, world, (name) => loadFile(name, onProgress));
}

async function loadFile(
  name: string,
  onProgress?: (progress: Progress) => void,
): Promise<StateDict> {
  try {
    const dict = await readFile(name, onProgress);
    await removeStaleTemporaries(name).catch(() => {}); // the state is there all the same
    return dict;
  } catch (error) {
    if (files().isNotFound(error)) throw error;
    throw explain(error, `load ${name}`);
  }
}

/** The state of an optimizer; undefined if there is something else to save. */
function stateSource(source: unknown): StateSource | undefined {
  if (typeof source === "object" && source !== null) return stateSourceOf(source);
  throw wrongType("save the state", "there must be an optimizer or a state dict", source);
}

/** The dict to save, and what makes sure that it is still the state that it was. */
async function read(source: Stateful | StateDict, options: StateDictOptions, state: boolean) {
  const live = stateSourceOf(source);
  if (live === undefined) {
    const isDict = !("stateDict" in source);
    const dict = isDict
      ? formOf(source as StateDict, options)
      : (source as Stateful).stateDict(options);
    return { dict, check: () => {} };
  }
  const before = live.revision();
  const check = () => {
    if (live.revision() === before) return;
    throw new Error(
      cannot("save the state", "the optimizer has stepped meanwhile", "await saveState"),
    );
  };
  const dict = await live.dict(options, state);
  return { dict, check };
}

/** The state of an average, which shares its arrays, and what makes sure that it still is its state. */
function readAverage(average: StatefulAverage | undefined) {
  if (average === undefined) return undefined;
  const live = typeof average === "object" && average !== null
    ? averageSourceOf(average)
    : undefined;
  if (live === undefined) return { dict: stateOf("average", average)!, check: () => {} };
  const [dict, before] = [live.dict(), live.revision()];
  const check = () => {
    if (live.revision() === before) return;
    throw new Error(
      cannot("save the state", "the average has changed meanwhile", "await saveState"),
    );
  };
  return { dict, check };
}

/** A dict that was given: as it is, but for its momentum. */
function formOf(dict: StateDict, { momentum }: StateDictOptions): StateDict {
  if (momentum !== "float32") return dict;
  checkStateDict(dict);
  return withFloat32Momentum(dict);
}

function stateOf<D>(what: string, owner: { stateDict(): D } | undefined): D | undefined {
  if (owner === undefined) return undefined;
  if (typeof owner === "object" && owner !== null && "stateDict" in owner) return owner.stateDict();
  throw wrongType(`save the ${what}`, "it must have a stateDict", owner);
}

/** Whether there is something to save of a scaler: one that is not enabled has `{}`. */
function hasState(dict: GradScalerStateDict | undefined): boolean {
  return dict !== undefined && !(isPlainObject(dict) && Object.keys(dict).length === 0);
}

/** `using` would close the file too, but Node.js and some browsers cannot parse it. */
async function readFile(
  name: string,
  onProgress?: (progress: Progress) => void,
): Promise<StateDict> {
  const { file, size } = await openFile(name);
  try {
    return await readAll(file, size, onProgress);
  } finally {
    await file.close();
  }
}

async function readAll(
  file: OpenFile,
  total: number,
  onProgress?: (progress: Progress) => void,
): Promise<StateDict> {
  const reader = new PieceReader(file, total, onProgress);
  const prefix = new Uint8Array(Math.min(PREFIX, total));
  await reader.fill(prefix);
  const length = readHeaderLength(prefix, total);
  const header = new Uint8Array(length);
  await reader.fill(header);
  const { dict, memory, check } = readState(header, total - PREFIX - length);
  for (const part of memory) if (!reader.take(part)) await reader.fill(part);
  check();
  return dict;
}
