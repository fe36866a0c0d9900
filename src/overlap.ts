/** Finds arrays that share memory. */

/** What error messages call the span with a number. */
export type NameOf = (span: number) => string;

/** Spans of memory, by numbers from 0 on. */
export interface Spans {
  readonly count: number;
  /** The address of the first byte, on a backend's own scale. */
  readonly startOf: (span: number) => number;
  /** An empty span overlaps nothing. */
  readonly bytesOf: (span: number) => number;
  readonly nameOf: NameOf;
}

/** The spans of memory that a step writes, which may overlap nothing. */
export class Written {
  /** In order of their starts, without those that are empty. */
  readonly #numbers: Uint32Array;
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #nameOf: NameOf;

  /**
   * @throws {RangeError} If two of the spans overlap.
   */
  constructor({ count, startOf, bytesOf, nameOf }: Spans) {
    const all = new Float64Array(count);
    const numbers: number[] = []; // no typed array: what is nearly in order is sorted faster in this
    for (let i = 0; i < count; i++) {
      if (bytesOf(i) === 0) continue;
      all[i] = startOf(i);
      numbers.push(i);
    }
    const sorted = this.#numbers = new Uint32Array(numbers.sort((a, b) => all[a] - all[b]));
    const starts = this.#starts = new Float64Array(sorted.length);
    const ends = this.#ends = new Float64Array(sorted.length);
    this.#nameOf = nameOf;
    for (let i = 0; i < sorted.length; i++) {
      starts[i] = all[sorted[i]];
      ends[i] = starts[i] + bytesOf(sorted[i]);
      if (i > 0 && starts[i] < ends[i - 1]) {
        throw overlapError(nameOf(sorted[i - 1]), nameOf(sorted[i]));
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
