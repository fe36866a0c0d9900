/** Reads a file in pieces of one size, whatever the sizes of what is in it. */

import type { OpenFile } from "../files/files.ts";
import { unreadable } from "./errors.ts";

/** Bytes that are read or written at once. */
export const PIECE = 1 << 22;

/**
 * How far saving or loading has come, in bytes.
 *
 * @category Checkpoints
 */
export interface Progress {
  /** Bytes read or written so far. */
  readonly done: number;
  /** Bytes that are read or written in all: those of the file, unless only some tensors are loaded. */
  readonly total: number;
}

/**
 * Fills arrays from a file, one after the other. Small ones share a piece, as each call of the system
 * costs more than they do; what is as large as a piece is read into its own memory at once.
 */
export class PieceReader {
  readonly #file: OpenFile;
  readonly #total: number;
  readonly #onProgress: ((progress: Progress) => void) | undefined;
  readonly #piece: Uint8Array;
  /** The part of the piece that has been read and not been taken. */
  #from = 0;
  #to = 0;
  #done = 0;
  /** The place in the file, and the bytes from there on that may be read. */
  #at = 0;
  #left: number;

  /**
   * @param file The file.
   * @param total The bytes that are to be read of it; no more are, even if it grows.
   * @param onProgress Is told after each piece.
   */
  constructor(file: OpenFile, total: number, onProgress?: (progress: Progress) => void) {
    this.#file = file;
    this.#total = total;
    this.#left = total;
    this.#onProgress = onProgress;
    this.#piece = new Uint8Array(Math.min(PIECE, total));
  }

  /** Moves to a place of the file, from where on so many bytes are read. */
  async moveTo(at: number, bytes: number): Promise<void> {
    [this.#from, this.#to] = [0, 0];
    [this.#at, this.#left] = [at, bytes];
    await this.#file.seek(at);
  }

  /** Passes over bytes. They are read all the same: a few of them cost less than moving does. */
  async skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0;) {
      if (this.#from === this.#to) await this.#refill();
      const count = Math.min(left, this.#to - this.#from);
      this.#from += count;
      left -= count;
    }
  }

  /** Fills an array if all of it is in the piece already, and says whether. */
  take(bytes: Uint8Array): boolean {
    if (bytes.length > this.#to - this.#from) return false;
    this.#move(bytes);
    return true;
  }

  /**
   * Fills an array, reading as much as it needs.
   *
   * @throws {CheckpointError} If the file has become shorter.
   */
  async fill(bytes: Uint8Array): Promise<void> {
    for (let at = this.#move(bytes); at < bytes.length;) {
      const rest = bytes.subarray(at);
      if (rest.length >= PIECE) {
        at += await this.#read(rest.subarray(0, PIECE));
        continue;
      }
      await this.#refill();
      at += this.#move(rest);
    }
  }

  /** Reads the next piece, once all of the last one has been taken. */
  async #refill(): Promise<void> {
    const left = Math.min(this.#piece.length, this.#left);
    this.#from = 0;
    this.#to = await this.#read(this.#piece.subarray(0, left));
  }

  /** Moves what fits from the piece into an array, and says how many bytes. */
  #move(into: Uint8Array): number {
    const part = this.#piece.subarray(this.#from, Math.min(this.#to, this.#from + into.length));
    into.set(part);
    this.#from += part.length;
    return part.length;
  }

  async #read(into: Uint8Array): Promise<number> {
    const count = await this.#file.read(into);
    if (count === null) {
      throw unreadable(`it ends at byte ${this.#at}, and was longer when opened`);
    }
    this.#done += count;
    this.#at += count;
    this.#left -= count;
    this.#onProgress?.({ done: this.#done, total: this.#total });
    return count;
  }
}
