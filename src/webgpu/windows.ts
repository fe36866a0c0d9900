/**
 * Windows: what one binding shows of a buffer. A buffer that is larger than a binding may be is cut into
 * windows that do not overlap, so two bindings show the same memory or none in common.
 */

import type { Binding, Buffer } from "./api.ts";
import type { Place } from "./places.ts";

/** What windows begin at multiples of, on any device. */
const ALIGNMENT = 256;

/** The windows that one table of a step uses. */
export class Windows {
  readonly #stride: number;
  readonly #windows: Binding[] = [];
  readonly #numbers = new Map<Buffer, Map<number, number>>();

  /** @param most The most bytes of a binding. */
  constructor(most: number) {
    this.#stride = Math.max(ALIGNMENT, Math.floor(most / ALIGNMENT) * ALIGNMENT);
  }

  /** The number of the window that shows a place. */
  numberOf({ buffer, offset }: Place): number {
    let known = this.#numbers.get(buffer);
    if (known === undefined) this.#numbers.set(buffer, known = new Map());
    const index = Math.floor(offset / this.#stride);
    const number = known.get(index);
    if (number !== undefined) return number;
    const start = index * this.#stride;
    this.#windows.push({
      buffer,
      offset: start,
      size: Math.min(this.#stride, buffer.size - start),
    });
    known.set(index, this.#windows.length - 1);
    return this.#windows.length - 1;
  }

  /** Bytes from the start of its window to a place. */
  within({ offset }: Place): number {
    return offset % this.#stride;
  }

  /** Bytes from a place to the end of its window, if the buffer goes on after it. */
  room({ offset }: Place): number {
    return this.#stride - offset % this.#stride;
  }

  /** The window of a number. */
  at(number: number): Binding {
    return this.#windows[number];
  }
}
