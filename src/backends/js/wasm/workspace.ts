/**
 * Memories that kernels work on. Parameters and gradients are copied into their tiles, as they lie
 * where the caller has put them; the arrays that the optimizer makes stay in such a memory and are
 * stepped in place.
 */

import type { Dtype } from "../../../core/dtype.ts";
import type { HostArray } from "../../../core/host_array.ts";
import { compile, keyOf } from "./kernel.ts";
import type { Format, Kernel } from "./kernel.ts";
import { isAvailable, newMemory, TILE, TILES, TILES_BYTES } from "./memory.ts";

/** Bytes below which arrays are not worth a memory of their own, of which a process has few. */
const SMALL = 1 << 16;

/** Bytes that a memory can have, short of its last page. */
const LARGE = 2 ** 32 - 2 ** 16 - TILES_BYTES;

/** One memory with its tiles, and the kernels that work on it. */
export class Workspace {
  readonly memory: WebAssembly.Memory;
  /** All of the memory. */
  readonly bytes: Uint8Array;
  readonly #tiles = new Map<string, HostArray>();
  readonly #kernels = new Map<string, Kernel>();

  /**
   * @param bytes How many bytes of arrays it has room for.
   * @throws {RangeError} If there is not so much memory.
   */
  constructor(bytes = 0) {
    this.memory = newMemory(bytes);
    this.bytes = new Uint8Array(this.memory.buffer);
  }

  /** A tile of elements of a dtype; those of all dtypes lie at one place. */
  tileOf(dtype: Dtype, name: keyof typeof TILES): HostArray {
    return cached(
      this.#tiles,
      dtype.name + name,
      () => dtype.view(this.memory.buffer, TILES[name], TILE),
    );
  }

  /**
   * The rule for one format.
   *
   * @param key That of the format.
   */
  kernelOf(format: Format, key: string = keyOf(format)): Kernel {
    return cached(this.#kernels, key, () => compile(format, this.memory));
  }
}

/** What a map has for a key; it is made the first time. */
export function cached<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, value = make());
  return value;
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
export interface Room<B extends ArrayBufferLike = ArrayBuffer> {
  readonly buffer: B;
  readonly offset: number;
}

/** Makes memory of zeros, in a workspace if that is worth it and one is free. */
export function allocate(bytes: number): Room {
  const worthIt = bytes >= SMALL && bytes <= LARGE && isAvailable();
  const memory = worthIt ? createMemory(bytes) : null;
  return memory === null
    ? { buffer: new ArrayBuffer(bytes), offset: 0 }
    : { buffer: memory, offset: TILES_BYTES };
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
