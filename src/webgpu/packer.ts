/** Puts tables of 32-bit words into one buffer, each where a binding may begin. */

/** What bindings begin at multiples of, on any device. */
const ALIGNMENT = 256;

/** Where a table is, in bytes. */
export interface Range {
  readonly offset: number;
  readonly size: number;
}

/** The tables of one buffer. */
export class Packer {
  /** Bytes of all of them. */
  size = 0;
  readonly #parts: { readonly words: readonly number[]; readonly at: number }[] = [];

  /** Adds a table. */
  add(words: readonly number[]): Range {
    const { offset, size } = this.reserve(words.length);
    this.#parts.push({ words, at: offset / 4 });
    return { offset, size };
  }

  /** Leaves room for a table of zeros. */
  reserve(words: number): Range {
    const offset = Math.ceil(this.size / ALIGNMENT) * ALIGNMENT;
    this.size = offset + 4 * words;
    return { offset, size: 4 * words };
  }

  /** All tables. */
  bytes(): Uint8Array<ArrayBuffer> {
    const all = new Uint32Array(this.size / 4);
    for (const { words, at } of this.#parts) all.set(words, at);
    return new Uint8Array(all.buffer);
  }
}
