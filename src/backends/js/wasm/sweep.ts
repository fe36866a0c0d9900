/** Steps tensors in WebAssembly, a tile at a time. */

import type { HostArray } from "../../../core/host_array.ts";
import { fillAll, setAll } from "../../../core/intrinsics.ts";
import { BLOCK, scalesOffset } from "../../../core/momentum8.ts";
import { computeTypeOf } from "../preparation.ts";
import { sumOf } from "../sums.ts";
import type { Terms } from "../sums.ts";
import { copiedPlaces, masterBytesOf, unitOf } from "./kernel.ts";
import type { Format, Kernel, Numbers, Places } from "./kernel.ts";
import { SCALES_TILE, TILE, TILES } from "./memory.ts";
import { StatePart } from "./state_part.ts";
import type { Place } from "./state_part.ts";
import { commonWorkspace, findWorkspace } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

/** The arrays of one tensor. */
export interface Arrays {
  readonly data: HostArray;
  readonly grad: HostArray;
  /** The gradient with what is added to it; null if that is nothing. */
  readonly terms: Terms | null;
  /** Momentum: elements, or codes, padding and scales. Null if there is none. */
  readonly momentum: Place | null;
  /** The master weight, or corrections. Null if there is none. */
  readonly master: Place | null;
}

/** Rounds new parameters of a tile, which are float32, to where the parameters are. */
export type Rounder = (values: Float32Array, out: HostArray, from: number) => void;

/** How tensors are stepped that have a format in common. */
export class Method {
  /** The last one that was used; neighboring tensors mostly have one workspace. */
  #sweep: Sweep | null = null;

  constructor(readonly format: Format) {}

  /**
   * Steps one tensor.
   *
   * @param round Given where the format leaves parameters unrounded.
   */
  step(numbers: Numbers, arrays: Arrays, round: Rounder | null = null): void {
    const { data, momentum, master } = arrays;
    const own = (momentum && findWorkspace(momentum.buffer)) ??
      (master && findWorkspace(master.buffer));
    const workspace = own ?? commonWorkspace();
    if (this.#sweep?.workspace !== workspace) this.#sweep = new Sweep(workspace, this.format);
    const sweep = this.#sweep;
    sweep.moveTo(arrays);
    for (let from = 0; from < data.length; from += TILE) {
      sweep.step(numbers, arrays, from, round);
    }
  }
}

/** Steps tensors of one format in one workspace, a tile at a time. */
class Sweep {
  readonly #format: Format;
  readonly #unit: number;
  readonly #kernel: Kernel;
  readonly #param: HostArray;
  readonly #grad: HostArray;
  readonly #buffer: StatePart;
  readonly #scales: StatePart;
  readonly #master: StatePart;
  #hasMaster = false;
  readonly #places: Places = copiedPlaces();

  constructor(readonly workspace: Workspace, format: Format) {
    const { dtype, gradType, momentum8 } = format;
    this.#format = format;
    this.#unit = unitOf(format);
    this.#kernel = workspace.kernelOf(format);
    this.#param = workspace.tileOf(dtype, "param");
    this.#grad = workspace.tileOf(gradType, "grad");
    const bytes = momentum8 ? 1 : computeTypeOf(dtype).bytes;
    this.#buffer = new StatePart(workspace, TILES.buffer, bytes);
    this.#scales = new StatePart(workspace, SCALES_TILE, 1);
    this.#master = new StatePart(workspace, TILES.master, masterBytesOf(format));
  }

  /** Says where the state of the next tensor is. */
  moveTo({ data, momentum, master }: Arrays): void {
    if (momentum !== null) {
      this.#buffer.moveTo(momentum);
      if (this.#format.momentum8) this.#scales.moveTo(momentum, scalesOffset(data.length));
    }
    this.#hasMaster = master !== null;
    if (master !== null) this.#master.moveTo(master);
  }

  /** Steps a tile of a tensor, from an element on. */
  step(numbers: Numbers, { data, grad, terms }: Arrays, from: number, round: Rounder | null): void {
    const count = Math.min(TILE, data.length - from);
    const end = Math.ceil(count / this.#unit) * this.#unit;
    const isAll = count === data.length;
    const ownData = isAll ? data : data.subarray(from, from + count);
    const ownGrad = isAll ? grad : grad.subarray(from, from + count);
    copyPadded(ownData, this.#param, end);
    copyPadded(terms === null ? ownGrad : sumOf(terms, from, count), this.#grad, end);
    this.#run(numbers, from, count, end);
    if (round !== null) round(this.#unrounded(count), ownData, from);
    else setAll(ownData, count === TILE ? this.#param : this.#param.subarray(0, count));
    if (numbers.preparation?.zero) fillAll(ownGrad, 0);
  }

  #run(numbers: Numbers, from: number, count: number, end: number): void {
    const places = this.#places;
    const { momentum8, lines } = this.#format;
    const [isLater, block] = [lines.momentum === "later", from / BLOCK];
    const buffer = lines.momentum === "none" ? null : this.#buffer;
    const scales = momentum8 ? buffer && this.#scales : null;
    const master = this.#hasMaster ? this.#master : null;
    // Momentum in 8 bits has room for a whole block: its codes are zeros behind the last element.
    const [own, blocks] = [momentum8 ? end : count, end / BLOCK];
    if (buffer !== null) places.buffer = buffer.enter(from, own, end, isLater);
    if (scales !== null) places.scales = scales.enter(block, blocks, blocks, isLater);
    places.master = master === null ? TILES.master : master.enter(from, count, end, true);
    places.block = block;
    this.#kernel(count, numbers, places);
    if (buffer !== null) buffer.leave(from, own, places.buffer);
    if (scales !== null) scales.leave(block, blocks, places.scales);
    if (master !== null) master.leave(from, count, places.master);
  }

  /** The parameters that the kernel has left where master weights are. */
  #unrounded(count: number): Float32Array {
    return new Float32Array(this.workspace.memory.buffer, this.#places.master, count);
  }
}

/** Copies elements to a tile, and zeros up to an end. */
function copyPadded(part: HostArray, tile: HostArray, end: number): void {
  setAll(tile, part);
  if (end > part.length) fillAll(tile, 0, part.length, end);
}
