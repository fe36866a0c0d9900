/** Loads and saves safetensors files. */

import { explain, removeStaleTemporaries } from "../checkpoint/atomic_file.ts";
import type { Progress } from "../checkpoint/piece_reader.ts";
import { writeLayout } from "../checkpoint/write_layout.ts";
import { checkFiles } from "../core/runtime.ts";
import { checkOptions, checkString, wrongType } from "../core/validate.ts";
import { toPath } from "../files/file_path.ts";
import { files } from "../files/files.ts";
import { layOutTensors } from "./encode.ts";
import { closeShards, openModel } from "./model.ts";
import type { Model } from "./model.ts";
import { readTensors } from "./read_tensors.ts";
import type { LoadedTensor, SavedTensor, TensorsMetadata } from "./types.ts";

/**
 * The options of `loadTensors`.
 *
 * @category Tensors
 */
export interface LoadTensorsOptions {
  /** The tensors to load; no more than a few bytes of others are read. @default {all} */
  names?: Iterable<string>;
  /**
   * Called after each piece with the bytes that have been read and those that are read in all: headers
   * and the tensors that are loaded.
   */
  onProgress?: (progress: Progress) => void;
}

/**
 * The options of `saveTensors`.
 *
 * @category Tensors
 */
export interface SaveTensorsOptions extends TensorsMetadata {
  /** Called after each piece. */
  onProgress?: (progress: Progress) => void;
}

/**
 * Loads tensors of any safetensors file, or of a sharded model if the path ends in `.json`, as that of
 * `model.safetensors.index.json` does. The files may be hostile: everything is checked before it is
 * used, no more memory is taken than a file is long, and an index that names files outside of its folder
 * is refused.
 *
 * Needs Deno, with read permission for the files, Node.js or Bun; elsewhere `decodeTensors` takes the
 * bytes.
 *
 * @param path The file or the index.
 * @param options Which tensors, and a callback for the progress.
 * @returns The tensors by their names, in an object without a prototype, so that any name is safe.
 * @throws {CheckpointError} If a file is not valid or cannot be read; the message names the place in it.
 * @throws {RangeError} If there is no tensor of a name that was asked for.
 * @throws {Deno.errors.NotFound} If there is no file; in Node.js and Bun, an error with code `ENOENT`.
 *
 * @example Load weights that Python has saved, and train them
 * ```ts
 * import { SGD } from "@descent/sgd";
 * import { loadTensors, saveTensors } from "@descent/sgd/safetensors";
 *
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await saveTensors(path, { w: { data: Float32Array.of(1, 2) } }); // or safetensors in Python
 *
 * const { w } = await loadTensors(path, { names: ["w"] });
 * if (w.dtype !== "F32") throw new TypeError(`w is ${w.dtype}`);
 * const parameter = { name: "w", data: w.data, shape: w.shape, grad: Float32Array.of(1, 1) };
 * new SGD([parameter], { lr: 0.5 }).step();
 * console.log(w.data); // Float32Array(2) [ 0.5, 1.5 ]
 * ```
 *
 * @category Tensors
 */
export async function loadTensors(
  path: string | URL,
  options: LoadTensorsOptions = {},
): Promise<Record<string, LoadedTensor>> {
  checkFiles("load tensors", "read the bytes and use decodeTensors");
  checkOptions(options, ["names", "onProgress"]);
  const { names, onProgress } = options;
  const wanted = names === undefined ? undefined : readNames(names);
  const name = toPath(path);
  const tensors = await withModel(name, wanted, (model) => {
    return readTensors(model, wanted ?? new Set(model.places.keys()), onProgress);
  });
  await removeStaleTemporaries(name).catch(() => {}); // the tensors are there all the same
  return tensors;
}

/**
 * Saves tensors as a safetensors file, which every safetensors library reads.
 *
 * The file is replaced as `saveState` does it: a crash at any moment leaves the old file or the new one
 * in full. It is written from the arrays themselves, so nothing may write to them until the promise
 * settles.
 *
 * Needs Deno, with read and write permission for the folder of the file, Node.js or Bun; elsewhere
 * `encodeTensors` makes the bytes.
 *
 * @param path The file.
 * @param tensors The tensors by their names; other properties, such as those of a parameter, are left.
 * @param options The file's metadata, and a callback for the progress.
 * @throws {CheckpointError} If the system does not let the file be written; the old file stays.
 * @throws {TypeError} If a tensor is not an array of the format, or a text is not a string.
 * @throws {RangeError} If an array has another length than its shape, or a limit of the format or its
 * reader is passed: 64 dimensions, 250,000 tensors, a header of 100 MB.
 * @throws {Error} If an array was detached meanwhile.
 *
 * @example
 * ```ts
 * import { openTensors, saveTensors } from "@descent/sgd/safetensors";
 *
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * const weight = { data: new Float32Array(6), shape: [2, 3] };
 * await saveTensors(path, { "layer.weight": weight }, { metadata: { format: "pt" } });
 *
 * await using file = await openTensors(path);
 * console.log(file.shapes["layer.weight"], file.metadata.format); // [ 2, 3 ] pt
 * ```
 *
 * @category Tensors
 */
export async function saveTensors(
  path: string | URL,
  tensors: Readonly<Record<string, SavedTensor>>,
  options: SaveTensorsOptions = {},
): Promise<void> {
  checkFiles("save tensors", "use encodeTensors and write its bytes");
  checkOptions(options, ["metadata", "onProgress"]);
  const { metadata, onProgress } = options;
  const file = toPath(path);
  const layout = layOutTensors(tensors, metadata);
  await writeLayout(file, layout, { doing: "save the tensors", onProgress });
}

/** The names that were asked for. A string would be taken for a list of its letters. */
function readNames(names: unknown): ReadonlySet<string> {
  const isList = typeof names === "object" && names !== null && Symbol.iterator in names;
  if (!isList) throw wrongType("load tensors", "names must be a list of names", names);
  const wanted = new Set(names as Iterable<string>);
  for (const name of wanted) checkString("load tensors", name, "each of names");
  return wanted;
}

/** Opens the files of a model for the time of a function. */
async function withModel<T>(
  path: string,
  names: ReadonlySet<string> | undefined,
  use: (model: Model) => Promise<T>,
): Promise<T> {
  return await explained(path, async () => {
    const model = await openModel(path, names);
    try {
      return await use(model);
    } finally {
      await closeShards(model.shards);
    }
  });
}

/** Runs a function, whose errors of files and of what is in them then name the file. */
export async function explained<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (files().isNotFound(error)) throw error;
    throw explain(error, `load ${path}`);
  }
}
