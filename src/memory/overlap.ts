/** Finds arrays that share memory. */

import { cannot } from "../core/validate.ts";

/**
 * Spans of memory by numbers from 0 on: addresses of the first byte and of the one after the last, on
 * a backend's own scale. Both are 0 for what is empty, which overlaps nothing.
 */
export interface Spans {
  readonly starts: Float64Array;
  readonly ends: Float64Array;
}

/** An array as error messages need it. */
export interface NamedSpan {
  readonly start: number;
  readonly end: number;
  readonly name: string;
}

/** Room for so many spans, all of them empty. */
export function createSpans(count: number): Spans {
  return { starts: new Float64Array(count), ends: new Float64Array(count) };
}

/** Sorts the starts and the ends of spans, and returns whether no two spans overlap. */
export function sortApart({ starts, ends }: Spans): boolean {
  starts.sort();
  ends.sort();
  // Where two spans share a place, one more has begun before it than has ended.
  for (let i = 1; i < starts.length; i++) {
    if (starts[i] < ends[i - 1]) return false;
  }
  return true;
}

/** Two arrays that overlap, in the order of the list; null if there are none. */
export function findOverlap(list: readonly NamedSpan[]): [a: number, b: number] | null {
  const numbers = [...list.keys()].filter((i) => list[i].start < list[i].end);
  numbers.sort((a, b) => list[a].start - list[b].start);
  const at = numbers.findIndex((span, i) => i > 0 && list[span].start < list[numbers[i - 1]].end);
  if (at < 0) return null;
  const [a, b] = [numbers[at - 1], numbers[at]];
  return a < b ? [a, b] : [b, a];
}

/** The error of two arrays that share memory. */
export function overlapError(a: string, b: string): RangeError {
  return new RangeError(cannot(`use ${a} and ${b}`, "they must not share memory", "they overlap"));
}

/** Memory that overlaps nothing, such as what a step writes. */
export class Written {
  readonly #spans: Spans;
  readonly #list: () => readonly NamedSpan[];

  /**
   * @param spans The memory; they are sorted in place.
   * @param list The arrays on it, for errors.
   * @throws {RangeError} If two of the spans overlap.
   */
  constructor(spans: Spans, list: () => readonly NamedSpan[]) {
    this.#spans = spans;
    this.#list = list;
    if (sortApart(spans)) return;
    const arrays = list();
    const [a, b] = findOverlap(arrays)!;
    throw overlapError(arrays[a].name, arrays[b].name);
  }

  /** The number of the first of other spans that overlaps this memory; -1 if none does. */
  findMeeting({ starts, ends }: Spans): number {
    const own = this.#spans;
    for (let i = 0; i < starts.length; i++) {
      if (starts[i] >= ends[i]) continue;
      let low = 0;
      let high = own.ends.length;
      while (low < high) { // the first span that ends after this one's start
        const middle = (low + high) >> 1;
        if (own.ends[middle] <= starts[i]) low = middle + 1;
        else high = middle;
      }
      if (own.starts[low] < ends[i]) return i; // not if there is none
    }
    return -1;
  }

  /** The error of a span that `findMeeting` has found. */
  refusal(start: number, end: number, name: string): RangeError {
    const other = this.#list().find((span) => span.start < end && start < span.end);
    return overlapError(other!.name, name);
  }
}
