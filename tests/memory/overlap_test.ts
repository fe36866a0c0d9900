/** What finds memory that is shared, next to comparisons of each span with each other. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { findOverlap, sortApart, Written } from "../../src/memory/overlap.ts";
import type { NamedSpan, Spans } from "../../src/memory/overlap.ts";

/** Spans in little memory, so that many touch or overlap; some are empty. */
function spanLists(maxLength: number): fc.Arbitrary<NamedSpan[]> {
  const span = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 6 }));
  return fc.array(span, { maxLength }).map((list) =>
    list.map(([start, length], i) => {
      const begin = length === 0 ? 0 : start;
      return { start: begin, end: begin + length, name: `span ${i}` };
    })
  );
}

function spansOf(list: readonly NamedSpan[]): Spans {
  return {
    starts: Float64Array.from(list, ({ start }) => start),
    ends: Float64Array.from(list, ({ end }) => end),
  };
}

function meet(a: NamedSpan, b: NamedSpan): boolean {
  return Math.max(a.start, b.start) < Math.min(a.end, b.end);
}

function hasOverlap(list: readonly NamedSpan[]): boolean {
  return list.some((a, i) => list.slice(0, i).some((b) => meet(a, b)));
}

Deno.test("an overlap of spans is found if there is one, and named in the order of the list", () => {
  fc.assert(
    fc.property(spanLists(6), (list) => {
      const found = findOverlap(list);
      assertEquals(found !== null, hasOverlap(list));
      assertEquals(sortApart(spansOf(list)), found === null);
      if (found === null) return;
      assert(found[0] < found[1]);
      assert(meet(list[found[0]], list[found[1]]));
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("the first span that meets written memory is found, and what it meets is named", () => {
  fc.assert(
    fc.property(spanLists(4), spanLists(4), (list, others) => {
      fc.pre(!hasOverlap(list));
      const written = new Written(spansOf(list), () => list);
      const expected = others.findIndex((other) => list.some((span) => meet(span, other)));
      assertEquals(written.findMeeting(spansOf(others)), expected);
      if (expected < 0) return;
      const { start, end, name } = others[expected];
      const met = list.find((span) => meet(span, others[expected]))!;
      assertEquals(
        written.refusal(start, end, name).message,
        `Cannot use ${met.name} and ${name} as they must not share memory: they overlap`,
      );
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("written memory that overlaps is refused by the names of two arrays that do", () => {
  const list = [[0, 0], [9, 12], [1, 5], [4, 8]].map(([start, end], i) => {
    return { start, end, name: `array ${i}` };
  });
  const make = () => new Written(spansOf(list), () => list);
  assertThrows(make, RangeError, "Cannot use array 2 and array 3 as they must not share memory");
});
