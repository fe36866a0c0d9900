/** Arrays of the optimizer's own, as kernels take them: in place, or copied to a tile and back. */

import type { Workspace } from "./workspace.ts";

/** Where an array of the optimizer's own begins. */
export interface Place {
  readonly buffer: ArrayBufferLike;
  /** Bytes before its first element. */
  readonly offset: number;
}

/** One array of a tensor's state. */
export class StatePart {
  /** Whether the array is in the memory of the workspace. */
  readonly #isOwn: boolean;

  /**
   * @param tile Where the array is copied to.
   * @param bytes Bytes of an element.
   */
  constructor(
    readonly workspace: Workspace,
    readonly place: Place,
    readonly tile: number,
    readonly bytes: number,
  ) {
    this.#isOwn = place.buffer === workspace.memory.buffer;
  }

  /**
   * Where a kernel finds some elements.
   *
   * @param end As many elements as the kernel steps; the array has `count` of them.
   * @param isRead Whether the kernel reads them.
   */
  enter(from: number, count: number, end: number, isRead: boolean): number {
    if (this.#isOwn && end === count) return this.place.offset + from * this.bytes;
    const { bytes } = this.workspace;
    const length = count * this.bytes;
    if (isRead) bytes.set(this.#view(from, count), this.tile);
    if (end > count) bytes.fill(0, this.tile + length, this.tile + end * this.bytes);
    return this.tile;
  }

  /** Takes what a kernel has written to where `enter` said. */
  leave(from: number, count: number, address: number): void {
    if (address !== this.tile) return;
    const { tile, bytes } = this;
    this.#view(from, count).set(this.workspace.bytes.subarray(tile, tile + count * bytes));
  }

  #view(from: number, count: number): Uint8Array {
    const { place, bytes } = this;
    return new Uint8Array(place.buffer, place.offset + from * bytes, count * bytes);
  }
}
