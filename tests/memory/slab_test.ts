/** Tests of the memory that an optimizer's own arrays share, and of what finds overlaps. */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { SGD, type SGDOptions } from "@descent/sgd";
import fc from "fast-check";
import { findOverlap, sortApart, type Spans, Written } from "../../src/memory/overlap.ts";
import { placeAll, Slab } from "../../src/memory/slab.ts";
import { testOnBackends } from "../support/backends.ts";

const GIB = 2 ** 30;
const MOMENTUM = { lr: 1, momentum: 0.5 };

/** A slab that takes no memory. */
class Fake extends Slab {
  constructor(readonly bytes: number, start: number) {
    super(new ArrayBuffer(0), start, 0);
  }
}

function placesOf(sizes: readonly number[]) {
  const slabs: Fake[] = [];
  const placed: { i: number; slab: Slab; from: number; to: number }[] = [];
  placeAll({
    count: sizes.length,
    bytesOf: (i) => sizes[i],
    place: (i, slab, address) => placed.push({ i, slab, from: address, to: address + sizes[i] }),
  }, (bytes) => {
    slabs.push(new Fake(bytes, slabs.length * 16 * GIB));
    return slabs.at(-1)!;
  });
  return { slabs, placed };
}

Deno.test("arrays get places on slabs: apart, aligned, inside, in order", () => {
  const size = fc.oneof(fc.constant(-1), fc.nat(100), fc.nat(1 << 20), fc.nat(2 * GIB));
  fc.assert(fc.property(fc.array(size, { maxLength: 30 }), (sizes) => {
    const { slabs, placed } = placesOf(sizes);
    const wanted = [...sizes.keys()].filter((i) => sizes[i] >= 0);
    assertEquals(placed.map(({ i }) => i), wanted);
    for (const [n, { i, slab, from, to }] of placed.entries()) {
      assertEquals(from % (sizes[i] < 64 ? 8 : 16), 0);
      assert(from >= slab.start && to <= slab.start + (slab as Fake).bytes);
      assert(n === 0 || from >= placed[n - 1].to);
    }
    for (const slab of slabs) {
      const count = placed.filter((each) => each.slab === slab).length;
      assert(count > 0 && (count === 1 || slab.bytes <= GIB));
    }
  }));
});

/** Spans of few addresses, so that many of them meet. */
const spans = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.nat(6)), { maxLength: 12 });

function toSpans(list: readonly (readonly [number, number])[]): Spans {
  const filled = list.map(([start, size]) => size === 0 ? [0, 0] : [start, start + size]);
  return {
    starts: Float64Array.from(filled, ([start]) => start),
    ends: Float64Array.from(filled, ([, end]) => end),
  };
}

const overlap = ([a, m]: readonly [number, number], [b, n]: readonly [number, number]) =>
  m > 0 && n > 0 && a < b + n && b < a + m;

Deno.test("overlaps are found that a look at all pairs finds, and no others", () => {
  fc.assert(
    fc.property(spans, spans, (own, others) => {
      const pair = own.flatMap((a, i) => own.slice(i + 1).map((b) => overlap(a, b))).includes(true);
      assertEquals(sortApart(toSpans(own)), !pair);
      const list = own.map(([start, size], i) => ({ start, end: start + size, name: `${i}` }));
      const found = findOverlap(list);
      assertEquals(found !== null, pair);
      if (found !== null) {
        assert(overlap(own[found[0]], own[found[1]]));
        assertThrows(
          () => new Written(toSpans(own), () => list),
          RangeError,
          "must not share memory",
        );
        return;
      }
      const met = others.findIndex((other) => own.some((span) => overlap(span, other)));
      assertEquals(new Written(toSpans(own), () => list).findMeeting(toSpans(others)), met);
    }),
    { numRuns: 2000 },
  );
});

function make(lengths: readonly number[], options: Partial<SGDOptions>) {
  const params = lengths.map((length, i) => ({
    data: new Float32Array(length),
    grad: new Float32Array(length).fill(i + 1),
    name: `p${i}`,
  }));
  return { params, optimizer: new SGD(params, { ...MOMENTUM, ...options }) };
}

testOnBackends("a gradient that comes later is refused on data, and may be shared", (backend) => {
  const { params: [a, b], optimizer } = make([3, 3], { backend });
  optimizer.step();
  a.grad = b.grad;
  optimizer.step();
  const data = a.data.slice();
  b.grad = a.data;
  const text = 'data of parameter 0 ("p0") and grad of parameter 1 ("p1")';
  assertThrows(() => optimizer.step(), RangeError, text);
  assertEquals(a.data, data);
});

testOnBackends("momentum buffers of one step share memory, and keep apart", (backend) => {
  const { params, optimizer } = make([3, 0, 100, 1], { backend });
  for (let step = 0; step < 2; step++) optimizer.step();
  const buffers = params.map((p) => optimizer.state.get(p)!.momentumBuffer!);
  assertEquals(buffers.map(({ length }) => length), [3, 0, 100, 1]);
  for (const [i, buffer] of buffers.entries()) {
    assertStrictEquals(buffer.buffer, buffers[0].buffer);
    assert(buffer.every((value) => value === 1.5 * (i + 1)));
  }
});

testOnBackends("steps are the same before and after the state was looked at", (backend) => {
  const [seen, unseen] = [make([3, 70], { backend }), make([3, 70], { backend })];
  for (let step = 0; step < 6; step++) {
    if (step === 2) assertEquals(seen.optimizer.state.size, 2);
    if (step === 4) {
      for (const { params, optimizer } of [seen, unseen]) {
        const late = { data: new Float32Array(2), grad: Float32Array.of(1, 2), name: "late" };
        params.push(late);
        optimizer.addParamGroup({ params: [late] });
      }
    }
    for (const { optimizer } of [seen, unseen]) optimizer.step();
  }
  assertEquals(seen.params, unseen.params);
  assertEquals(seen.optimizer.stateDict(), unseen.optimizer.stateDict());
  assertEquals([...seen.optimizer.state.values()], [...unseen.optimizer.state.values()]);
});

testOnBackends("a buffer that nobody has seen does not fit data of another length", (backend) => {
  const { params: [p], optimizer } = make([3], { backend });
  optimizer.step();
  const { data, grad } = p;
  [p.data, p.grad] = [new Float32Array(4), new Float32Array(4)];
  const text = 'momentum buffer of parameter 0 ("p0") as its length must be 4';
  assertThrows(() => optimizer.step(), RangeError, text);
  [p.data, p.grad] = [data, grad];
  optimizer.step();
  assertEquals(optimizer.state.get(p)!.momentumBuffer, Float32Array.of(1.5, 1.5, 1.5));
});
