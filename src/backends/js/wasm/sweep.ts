/** Steps tensors in WebAssembly, a tile at a time. */

import type { HostArray } from "../../../core/host_array.ts";
import { BLOCK, scalesOffset } from "../../../core/momentum8.ts";
import { computeTypeOf } from "../preparation.ts";
import { keyOf, masterBytesOf, unitOf } from "./kernel.ts";
import type { Format, Kernel, Numbers, Places } from "./kernel.ts";
import { SCALES_TILE, TILE, TILES } from "./memory.ts";
import { StatePart } from "./state_part.ts";
import type { Place } from "./state_part.ts";
import { commonWorkspace, findWorkspace } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

/** How tensors are stepped that have a format, and options, in common. */
export class Method {
  /** The key of the format. */
  readonly key: string;
  /** Elements that a kernel steps at a time. */
  readonly unit: number;

  constructor(readonly format: Format) {
    this.key = keyOf(format);
    this.unit = unitOf(format);
  }
}

/** The arrays of one tensor. */
export interface Arrays {
  readonly data: HostArray;
  readonly grad: HostArray;
  /** Momentum: elements, or codes, padding and scales. Null if there is none. */
  readonly momentum: Place | null;
  /** The master weight, or corrections. Null if there is none. */
  readonly master: Place | null;
}

/** Rounds new parameters of a tile, which are float32, to where the parameters are. */
export type Rounder = (values: Float32Array, out: HostArray, from: number) => void;

/**
 * Steps one tensor.
 *
 * @param round Given where the format leaves parameters unrounded.
 */
export function sweep(
  method: Method,
  numbers: Numbers,
  arrays: Arrays,
  round: Rounder | null = null,
): void {
  const { data } = arrays;
  const sweep = new Sweep(method, arrays);
  for (let from = 0; from < data.length; from += TILE) {
    sweep.step(numbers, from, Math.min(TILE, data.length - from), round);
  }
}

/** One tensor that is being stepped. */
class Sweep {
  readonly #method: Method;
  readonly #arrays: Arrays;
  readonly #workspace: Workspace;
  readonly #kernel: Kernel;
  readonly #buffer: StatePart | null = null;
  readonly #scales: StatePart | null = null;
  readonly #master: StatePart | null = null;
  readonly #places: Places = { buffer: 0, scales: 0, master: TILES.master, block: 0 };

  constructor(method: Method, arrays: Arrays) {
    const { format, key } = method;
    const { data, momentum, master } = arrays;
    const own = (momentum && findWorkspace(momentum.buffer)) ??
      (master && findWorkspace(master.buffer));
    const workspace = own ?? commonWorkspace();
    this.#method = method;
    this.#arrays = arrays;
    this.#workspace = workspace;
    this.#kernel = workspace.kernelOf(format, key);
    const bytes = format.momentum8 ? 1 : computeTypeOf(format.dtype).bytes;
    if (momentum !== null) this.#buffer = new StatePart(workspace, momentum, TILES.buffer, bytes);
    if (momentum !== null && format.momentum8) {
      const offset = momentum.offset + scalesOffset(data.length);
      this.#scales = new StatePart(workspace, { ...momentum, offset }, SCALES_TILE, 1);
    }
    if (master !== null) {
      this.#master = new StatePart(workspace, master, TILES.master, masterBytesOf(format));
    }
  }

  step(numbers: Numbers, from: number, count: number, round: Rounder | null): void {
    const { dtype, gradType } = this.#method.format;
    const { data, grad } = this.#arrays;
    const isAll = count === data.length;
    const ownData = isAll ? data : data.subarray(from, from + count);
    const ownGrad = isAll ? grad : grad.subarray(from, from + count);
    const param = this.#workspace.tileOf(dtype, "param");
    this.#copy(ownData, param);
    this.#copy(ownGrad, this.#workspace.tileOf(gradType, "grad"));
    this.#run(numbers, from, count);
    if (round === null) ownData.set(count === TILE ? param : param.subarray(0, count));
    else round(this.#unrounded(count), ownData, from);
    if (numbers.preparation?.zero) ownGrad.fill(0);
  }

  /** Copies elements to a tile, and zeros up to the end of the unit. */
  #copy(part: HostArray, tile: HostArray): void {
    const { length } = part;
    tile.set(part);
    const end = this.#endOf(length);
    if (end > length) tile.fill(0, length, end);
  }

  #endOf(count: number): number {
    const { unit } = this.#method;
    return Math.ceil(count / unit) * unit;
  }

  #run(numbers: Numbers, from: number, count: number): void {
    const { momentum8, lines } = this.#method.format;
    const [places, end] = [this.#places, this.#endOf(count)];
    const [isLater, blocks] = [lines.momentum === "later", end / BLOCK];
    const buffered = lines.momentum === "none" ? null : this.#buffer;
    // Momentum in 8 bits has room for a whole block: its codes are zeros behind the last element.
    const own = momentum8 ? end : count;
    places.buffer = buffered?.enter(from, own, end, isLater) ?? 0;
    places.scales = this.#scales?.enter(from / BLOCK, blocks, blocks, isLater) ?? 0;
    places.master = this.#master?.enter(from, count, end, true) ?? TILES.master;
    places.block = from / BLOCK;
    this.#kernel(count, numbers, places);
    buffered?.leave(from, own, places.buffer);
    if (buffered !== null) this.#scales?.leave(from / BLOCK, blocks, places.scales);
    this.#master?.leave(from, count, places.master);
  }

  /** The parameters that the kernel has left where master weights are. */
  #unrounded(count: number): Float32Array {
    return new Float32Array(this.#workspace.memory.buffer, this.#places.master, count);
  }
}
