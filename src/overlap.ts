/** Finds arrays that share memory. */

/** Spans of memory, by numbers from 0 on. */
export interface Spans {
  readonly count: number;
  /** The address of the first byte, on a backend's own scale. */
  readonly startOf: (span: number) => number;
  /** An empty span overlaps nothing. */
  readonly bytesOf: (span: number) => number;
  /** What error messages call it, or the part of it that lies between two addresses. */
  readonly nameOf: (span: number, start: number, end: number) => string;
}

/** Spans of memory that overlap nothing, such as those that a step writes. */
export class Written {
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #spans: Spans;

  /**
   * @throws {RangeError} If two of the spans overlap.
   */
  constructor(spans: Spans) {
    const { starts, ends } = sortEdges(spans);
    this.#starts = starts;
    this.#ends = ends;
    this.#spans = spans;
    if (areApart(starts, ends)) return;
    const [a, b] = findOverlap(spans)!;
    throw overlapError(nameBeside(spans, a, b), nameBeside(spans, b, a));
  }

  /** Whether a span overlaps one of these. */
  meets(start: number, end: number): boolean {
    if (start >= end) return false;
    const ends = this.#ends;
    let low = 0;
    let high = ends.length;
    while (low < high) { // the first span that ends after this one's start
      const middle = (low + high) >> 1;
      if (ends[middle] <= start) low = middle + 1;
      else high = middle;
    }
    return this.#starts[low] < end; // not if there is none
  }

  /** The error of a span that `meets` one of these. */
  refusal(start: number, end: number, what: string): RangeError {
    const { count, startOf, bytesOf, nameOf } = this.#spans;
    let span = 0;
    const isApart = () => startOf(span) >= end || startOf(span) + bytesOf(span) <= start;
    while (span < count && (bytesOf(span) === 0 || isApart())) span++;
    return overlapError(nameOf(span, start, end), what);
  }
}

/** Two spans that overlap, or null if there are none. */
export function findOverlap(spans: Spans): [a: number, b: number] | null {
  const { starts, ends } = sortEdges(spans);
  if (areApart(starts, ends)) return null;
  const { count, startOf, bytesOf } = spans;
  const numbers = Array.from({ length: count }, (_, i) => i).filter((i) => bytesOf(i) > 0);
  numbers.sort((a, b) => startOf(a) - startOf(b));
  let last = numbers[0];
  for (const span of numbers.slice(1)) {
    if (startOf(span) < startOf(last) + bytesOf(last)) return [last, span];
    last = span;
  }
  return null;
}

/** The error of two arrays that share memory. */
export function overlapError(a: string, b: string): RangeError {
  return new RangeError(`Cannot use ${a} and ${b} as they must not share memory: they overlap`);
}

/** Where spans begin and where they end, each in order and without those that are empty. */
function sortEdges({ count, startOf, bytesOf }: Spans) {
  const [starts, ends] = [new Float64Array(count), new Float64Array(count)];
  let filled = 0;
  for (let i = 0; i < count; i++) {
    const bytes = bytesOf(i);
    if (bytes === 0) continue;
    starts[filled] = startOf(i);
    ends[filled++] = startOf(i) + bytes;
  }
  return { starts: starts.subarray(0, filled).sort(), ends: ends.subarray(0, filled).sort() };
}

/**
 * No two overlap if each begins when all that began before it have ended. If two of them share a
 * place, one more has begun there than has ended.
 */
function areApart(starts: Float64Array, ends: Float64Array): boolean {
  for (let i = 1; i < starts.length; i++) {
    if (starts[i] < ends[i - 1]) return false;
  }
  return true;
}

function nameBeside({ startOf, bytesOf, nameOf }: Spans, span: number, other: number): string {
  return nameOf(span, startOf(other), startOf(other) + bytesOf(other));
}
