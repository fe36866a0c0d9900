/**
 * Memories that kernels work on. Parameters and gradients are copied into their tiles, as they lie
 * where the caller has put them; momentum buffers, which the optimizer makes, stay in such a memory
 * and are stepped in place.
 */

import type { WideDtype } from "../../../core/dtype.ts";
import type { FloatArray } from "../../../core/host_array.ts";
import type { Lines } from "../../../core/rule.ts";
import { compile, isAvailable, newMemory, STRIDE, TILE } from "./kernel.ts";
import type { Kernel } from "./kernel.ts";

/** A tile of parameters, one of gradients, one of buffers. */
export interface Tiles {
  readonly param: FloatArray;
  readonly grad: FloatArray;
  readonly buffer: FloatArray;
}

/** Bytes below which arrays are not worth a memory of their own, of which a process has few. */
const SMALL = 1 << 16;

/** Bytes that a memory can have, short of its last page. */
const LARGE = 2 ** 32 - 2 ** 16 - 3 * STRIDE;

/** One memory with its tiles, and the kernels that work on it. */
export class Workspace {
  readonly memory: WebAssembly.Memory;
  readonly #tiles = new Map<WideDtype, Tiles>();
  readonly #kernels = new Map<string, Kernel>();

  /**
   * @param bytes How many bytes of arrays it has room for.
   * @throws {RangeError} If there is not so much memory.
   */
  constructor(bytes = 0) {
    this.memory = newMemory(bytes);
  }

  /** The tiles of a dtype; those of all dtypes lie at one place. */
  tilesOf(dtype: WideDtype): Tiles {
    let found = this.#tiles.get(dtype);
    if (found === undefined) {
      const tile = (i: number) => dtype.view(this.memory.buffer, i * STRIDE, TILE);
      this.#tiles.set(dtype, found = { param: tile(0), grad: tile(1), buffer: tile(2) });
    }
    return found;
  }

  /** The rule for one dtype and one choice of its lines. */
  kernelOf(dtype: WideDtype, lines: Lines): Kernel {
    const key = `${dtype.name} ${lines.decay} ${lines.momentum} ${lines.nesterov} ${lines.sign}`;
    let kernel = this.#kernels.get(key);
    if (kernel === undefined) {
      this.#kernels.set(key, kernel = compile(dtype, lines, this.memory));
    }
    return kernel;
  }
}

let common: Workspace | undefined;

const workspaces = new WeakMap<ArrayBufferLike, Workspace>();

/** The workspace that a buffer is the memory of; undefined if it is none. */
export function findWorkspace(buffer: ArrayBufferLike): Workspace | undefined {
  return workspaces.get(buffer);
}

/** A workspace for arrays that lie elsewhere. */
export function commonWorkspace(): Workspace {
  return common ??= new Workspace();
}

/** Memory for arrays: so many bytes of a buffer, from an offset on. */
export interface Room {
  readonly buffer: ArrayBuffer;
  readonly offset: number;
}

/** Makes memory of zeros, in a workspace if that is worth it and one is free. */
export function allocate(bytes: number): Room {
  const worthIt = bytes >= SMALL && bytes <= LARGE && isAvailable();
  const memory = worthIt ? createMemory(bytes) : null;
  return memory === null
    ? { buffer: new ArrayBuffer(bytes), offset: 0 }
    : { buffer: memory, offset: 3 * STRIDE };
}

function createMemory(bytes: number): ArrayBuffer | null {
  try {
    const workspace = new Workspace(bytes);
    const { buffer } = workspace.memory;
    workspaces.set(buffer, workspace);
    return buffer as ArrayBuffer;
  } catch (error) {
    if (error instanceof RangeError) return null; // a memory reserves more addresses than it uses
    throw error;
  }
}
