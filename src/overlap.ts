/** Finds arrays that share memory. */

/** A stretch of memory: first address and the one after the last, on a backend's own scale. */
export interface Span {
  readonly start: number;
  readonly end: number;
  /** What error messages call it. */
  readonly what: string;
}

/** The spans that a step writes, which may overlap nothing. */
export class Written {
  readonly #spans: readonly Span[];

  /**
   * @throws {RangeError} If two of the spans overlap.
   */
  constructor(spans: readonly Span[]) {
    this.#spans = spans.filter(({ start, end }) => start < end).sort((a, b) => a.start - b.start);
    for (let i = 1; i < this.#spans.length; i++) {
      const [before, after] = [this.#spans[i - 1], this.#spans[i]];
      if (after.start < before.end) throw overlapError(before.what, after.what);
    }
  }

  /**
   * @throws {RangeError} If a span that is only read overlaps one that is written.
   */
  check(span: Span): void {
    if (span.start >= span.end) return;
    let low = 0;
    let high = this.#spans.length;
    while (low < high) { // the first span that ends after this one's start
      const middle = (low + high) >> 1;
      if (this.#spans[middle].end <= span.start) low = middle + 1;
      else high = middle;
    }
    const next = this.#spans[low];
    if (next !== undefined && next.start < span.end) throw overlapError(next.what, span.what);
  }
}

function overlapError(a: string, b: string): RangeError {
  return new RangeError(`Cannot use ${a} and ${b} as they must not share memory: they overlap`);
}
