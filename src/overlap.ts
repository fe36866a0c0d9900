/** Finds arrays that share memory. */

/** What error messages call the span with a number. */
export type NameOf = (span: number) => string;

/**
 * The spans of memory that a step writes, which may overlap nothing. A span is its first address
 * and the one after its last, on a backend's own scale; an empty one overlaps nothing.
 */
export class Written {
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #numbers: Uint32Array;
  readonly #nameOf: NameOf;

  /**
   * @throws {RangeError} If two of the spans overlap.
   */
  constructor(starts: Float64Array, ends: Float64Array, nameOf: NameOf) {
    const numbers = Uint32Array.from(starts.keys()).filter((i) => starts[i] < ends[i]);
    this.#numbers = numbers.sort((a, b) => starts[a] - starts[b]);
    this.#starts = Float64Array.from(numbers, (i) => starts[i]);
    this.#ends = Float64Array.from(numbers, (i) => ends[i]);
    this.#nameOf = nameOf;
    for (let i = 1; i < numbers.length; i++) {
      if (this.#starts[i] < this.#ends[i - 1]) {
        throw overlapError(nameOf(numbers[i - 1]), nameOf(numbers[i]));
      }
    }
  }

  /**
   * @throws {RangeError} If a span that is only read overlaps one that is written.
   */
  check(start: number, end: number, what: () => string): void {
    if (start >= end) return;
    let low = 0;
    let high = this.#ends.length;
    while (low < high) { // the first span that ends after this one's start
      const middle = (low + high) >> 1;
      if (this.#ends[middle] <= start) low = middle + 1;
      else high = middle;
    }
    if (this.#starts[low] < end) throw overlapError(this.#nameOf(this.#numbers[low]), what());
  }
}

function overlapError(a: string, b: string): RangeError {
  return new RangeError(`Cannot use ${a} and ${b} as they must not share memory: they overlap`);
}
