/** Safetensors files that stay open: their tensors are read one at a time. */

import { checkFiles } from "../core/runtime.ts";
import { cannot, checkString, quote } from "../core/validate.ts";
import { toPath } from "../files/file_path.ts";
import { explained } from "./files.ts";
import { closeShards, openModel } from "./model.ts";
import type { Model } from "./model.ts";
import { readTensors } from "./read_tensors.ts";
import type { LoadedTensor, TensorDtype } from "./types.ts";

/**
 * A safetensors file, or a sharded model, of which nothing but the headers has been read. `openTensors`
 * makes one. Dispose of it, with `await using`, `using` or `close`: it keeps the files open.
 *
 * @category Tensors
 */
export interface TensorsFile extends AsyncDisposable, Disposable {
  /** The names of the tensors, in the order of their data. */
  readonly names: readonly string[];
  /** The shape of each tensor. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** The dtype of each tensor. */
  readonly dtypes: Readonly<Record<string, TensorDtype>>;
  /**
   * The texts in the file's `__metadata__`. Of a sharded model those of its files, the first one's where
   * they differ, and what the index has under `metadata`, such as `total_size`, as text.
   */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Reads a tensor; two calls give two arrays. Calls may overlap, and are served one after the other.
   *
   * @throws {RangeError} If there is no tensor of that name.
   * @throws {CheckpointError} If the file cannot be read.
   * @throws {Error} If the file has been closed.
   */
  read(name: string): Promise<LoadedTensor>;
  /** Closes the files once running reads have ended. Calling it again does nothing. */
  close(): Promise<void>;
}

/**
 * Opens a safetensors file, or a sharded model if the path ends in `.json`, to read single tensors: a
 * model can be larger than the memory.
 *
 * Needs Deno, with read permission for the files, Node.js or Bun; elsewhere `decodeTensors` takes the
 * bytes.
 *
 * @param path The file or the index.
 * @throws {CheckpointError} If a file is not valid or cannot be read; the message names the place in it.
 * @throws {Deno.errors.NotFound} If there is no file; in Node.js and Bun, an error with code `ENOENT`.
 *
 * @example
 * ```ts
 * import { openTensors, saveTensors } from "@descent/sgd/safetensors";
 *
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await saveTensors(path, { a: { data: Float32Array.of(1) }, b: { data: Int8Array.of(2, 3) } });
 *
 * await using file = await openTensors(path);
 * for (const name of file.names) {
 *   if (file.dtypes[name] === "I8") console.log((await file.read(name)).data); // Int8Array(2) [ 2, 3 ]
 * }
 * ```
 *
 * @category Tensors
 */
export async function openTensors(path: string | URL): Promise<TensorsFile> {
  checkFiles("open tensors", "read the bytes and use decodeTensors");
  const name = toPath(path);
  return new OpenTensors(name, await explained(name, () => openModel(name)));
}

class OpenTensors implements TensorsFile {
  readonly names: readonly string[];
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly dtypes: Readonly<Record<string, TensorDtype>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #path: string;
  readonly #model: Model;
  /** The reads under way: a file has one place from which it is read. */
  #running: Promise<unknown> | null = null;
  #closed: Promise<void> | null = null;

  constructor(path: string, model: Model) {
    this.#path = path;
    this.#model = model;
    const places = [...model.places];
    this.names = Object.freeze(places.map(([name]) => name));
    this.shapes = recordOf(
      places.map(([name, { tensor }]) => [name, Object.freeze([...tensor.info.shape])]),
    );
    this.dtypes = recordOf(
      places.map(([name, { tensor }]) => [name, tensor.info.dtype as TensorDtype]),
    );
    this.metadata = recordOf([...model.metadata]);
  }

  async read(name: string): Promise<LoadedTensor> {
    checkString("read a tensor", name, "its name");
    if (this.#closed !== null) {
      throw new Error(cannot(`read tensor ${quote(name)}`, "the file has been closed"));
    }
    const before = this.#running;
    const run = async () => {
      await before?.catch(() => {}); // its own caller is told of its error
      return await explained(this.#path, () => readTensors(this.#model, new Set([name])));
    };
    const reading = run();
    this.#running = reading;
    try {
      return (await reading)[name];
    } finally {
      if (this.#running === reading) this.#running = null;
    }
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close(this.#running);
  }

  /** Nothing is awaited if no read is under way: Deno then has closed the files when it returns. */
  async #close(running: Promise<unknown> | null): Promise<void> {
    if (running !== null) await running.catch(() => {});
    await closeShards(this.#model.shards);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  [Symbol.dispose](): void {
    this.close().catch(() => {}); // nobody is there to be told
  }
}

/** An object without a prototype, so that any name is safe in it. */
function recordOf<T>(entries: readonly (readonly [string, T])[]): Readonly<Record<string, T>> {
  const record: Record<string, T> = Object.create(null);
  for (const [name, value] of entries) record[name] = value;
  return Object.freeze(record);
}
