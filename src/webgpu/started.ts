/**
 * Which momentum buffers have been written, as the device knows it: a word for each buffer of which the
 * host does not know. `decide.wgsl` reads and writes the words.
 */

import { USAGE } from "./api.ts";
import type { Buffer, Gpu } from "./api.ts";

/** Words of the first table. */
const INITIAL = 256;

/** The words of one device. */
export class Started {
  readonly #gpu: Gpu;
  #table: Buffer | null = null;
  #room = INITIAL;
  /** By the addresses of the buffers. */
  readonly #words = new Map<number, number>();
  readonly #free: number[] = [];
  readonly #forgotten = new FinalizationRegistry<number>((address) => {
    const word = this.#words.get(address);
    if (word === undefined) return;
    this.#words.delete(address);
    this.#free.push(word); // what is queued for it comes before what will be
  });
  #count = 0;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** The number of a buffer's word. */
  wordOf(address: number): number {
    let word = this.#words.get(address);
    if (word === undefined) this.#words.set(address, word = this.#free.pop() ?? this.#count++);
    return word;
  }

  /** Frees the word of a buffer once nobody has it any more. */
  watch(buffer: object, address: number): void {
    this.#forgotten.register(buffer, address);
  }

  /** The table, with room for all words. One that grows has the words of the one before. */
  get table(): Buffer {
    const before = this.#table;
    if (before !== null && this.#count <= this.#room) return before;
    while (this.#room < this.#count) this.#room *= 2;
    const table = this.#gpu.createBuffer({
      size: 4 * this.#room,
      usage: USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST,
    });
    if (before !== null) {
      const encoder = this.#gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(before, 0, table, 0, before.size);
      this.#gpu.queue.submit([encoder.finish()]);
    }
    return this.#table = table;
  }
}
