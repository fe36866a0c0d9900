/** How the memory of a kernel is laid out, and whether this runtime has what kernels need. */

import { op, simd, TYPE } from "./assembler.ts";
import { Writer } from "./writer.ts";

/** Elements of a tile: parameter, gradient and buffer of one stay in a second-level cache. */
export const TILE = 8192;

/** Bytes between the tiles with which a memory begins. */
export const STRIDE = TILE * 8;

/** Where the tiles begin: those of parameters, of gradients, of momentum, and of what masters have. */
export const TILES = { param: 0, grad: STRIDE, buffer: 2 * STRIDE, master: 3 * STRIDE } as const;

/** Where the scales of the momentum in 8 bits begin, if it is copied to its tile. */
export const SCALES_TILE = TILES.buffer + TILE;

/** Bytes of all tiles. */
export const TILES_BYTES = 4 * STRIDE;

const PAGE = 65536;

/**
 * A memory for kernels: their tiles, and so many bytes more.
 *
 * @throws {RangeError} If there is not so much.
 */
export function newMemory(bytes = 0): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: Math.ceil((TILES_BYTES + bytes) / PAGE) });
}

/** Compiles a module over a memory. */
export function instantiate(
  module: Uint8Array<ArrayBuffer>,
  memory: WebAssembly.Memory,
): (...args: number[]) => number {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), { env: { memory } });
  return exports.run as (...args: number[]) => number;
}

let available: boolean | undefined;

let fused: boolean | undefined;

/** Whether this runtime has WebAssembly with SIMD, and lets programs compile it. */
export function isAvailable(): boolean {
  return available ??= canInstantiate();
}

function canInstantiate(): boolean {
  try {
    probe(false);
    return true;
  } catch {
    return false; // no WebAssembly, no SIMD, or a content security policy that forbids it
  }
}

/** Whether relaxed SIMD is here and fuses, on this processor. */
export function isFused(): boolean {
  return fused ??= canFuse();
}

function canFuse(): boolean {
  try {
    return probe(true) !== 0;
  } catch {
    return false; // no relaxed SIMD
  }
}

/**
 * What a product that is rounded differs by from itself: 2^-24 if `fma` rounds once, else 0. A
 * rounded product is subtracted from the same product, and only a fused operation keeps the rest.
 */
function probe(fuse: boolean): number {
  const w = new Writer({ single: true, fuse, params: [TYPE.i32], unitBytes: 4 });
  const factor = 1 + 2 ** -12;
  const [a, c] = [factor, -Math.fround(factor * factor)].map((value) => w.number(value));
  const sum = w.variable();
  w.assign(sum, w.fma(a, a, c));
  const module = w.module(4, () => {
    const wide = w.promote(sum, false);
    return [...op.get(wide), ...simd(0x21, 0)];
  });
  return instantiate(module, newMemory())(4);
}
