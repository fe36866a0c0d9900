/** Conversions between the 16-bit types and numbers, for every bit pattern, and `BFloat16Array`. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { BFloat16Array } from "@descent/sgd";
import type { HostArray } from "@descent/sgd";
import fc from "fast-check";
import { load, store } from "../../../src/core/convert.ts";
import { words } from "../../support/golden.ts";
import { bitsOf, CONVERSIONS, digest, fromBits, fromNumbers, numbersOf, TYPES } from "./golden.ts";

const ALL = Uint16Array.from({ length: 65_536 }, (_, i) => i);

const loaded = (array: HostArray) => {
  const values = new Float32Array(array.length);
  load(array, values);
  return values;
};

/** The value of a pattern by its definition. */
function valueOf(dtype: string, bits: number): number {
  const [low, bias] = dtype === "float16" ? [10, 15] : [7, 127];
  const sign = bits >>> 15 ? -1 : 1;
  const exponent = (bits & 0x7fff) >>> low;
  const mantissa = bits & (1 << low) - 1;
  if (exponent === 2 * bias + 1) return mantissa === 0 ? sign * Infinity : NaN;
  const [unit, whole] = exponent === 0 ? [1, 0] : [exponent, 2 ** low];
  return sign * (whole + mantissa) * 2 ** (unit - bias - low);
}

Deno.test("every bit pattern of both types has the value that its definition gives it", () => {
  for (const dtype of TYPES) {
    const expected = Array.from(ALL, (bits) => valueOf(dtype, bits));
    assertEquals(numbersOf(fromBits(dtype, ALL.slice())), expected, dtype);
    assertEquals(Array.from(loaded(fromBits(dtype, ALL.slice()))), expected, dtype);
  }
});

Deno.test("every bit pattern of both types survives the way through float32", () => {
  for (const dtype of TYPES) {
    const array = fromBits(dtype, ALL.slice());
    const back = fromBits(dtype, new Uint16Array(ALL.length));
    store(loaded(array), back);
    assertEquals(bitsOf(back), bitsOf(array), dtype); // all NaNs are one here, and stay NaN
    assertEquals(bitsOf(fromNumbers(dtype, numbersOf(array))), bitsOf(array), dtype);
  }
});

Deno.test("float32 is rounded as torch rounds it", () => {
  const values = new Float32Array(words(1, 2, 3, 2 ** 18).buffer);
  for (const dtype of TYPES) {
    const stored = fromBits(dtype, new Uint16Array(values.length));
    store(values, stored);
    assertEquals(digest([stored]), CONVERSIONS[dtype], dtype);
    assertEquals(digest([fromNumbers(dtype, values)]), CONVERSIONS[dtype], dtype);
  }
});

/** The values from one bfloat16 to the next, those half-way and next to that, as float64. */
function around(bits: number): [value: number, rounded: number][] {
  const [low, high] = [valueOf("bfloat16", bits), valueOf("bfloat16", bits + 1)];
  const middle = low + (high - low) / 2;
  const nudge = middle * 2 ** -50; // too little for a float32 to hold
  const even = bits % 2 === 0 ? low : high;
  return [[low, low], [middle - nudge, low], [middle, even], [middle + nudge, high]];
}

Deno.test("numbers become the nearest bfloat16 by one rounding, ties to even", () => {
  for (let bits = 0; bits < 0x7f7f; bits++) {
    for (const [value, rounded] of around(bits)) {
      const [plus, minus] = BFloat16Array.of(value, -value).toFloat32Array();
      assert(Object.is(plus, rounded) && Object.is(minus, -rounded), `${value} became ${plus}`);
    }
  }
});

Deno.test("no bfloat16 is nearer to a number than the one that it becomes", () => {
  fc.assert(fc.property(fc.double({ noNaN: true, min: -3e38, max: 3e38 }), (value) => {
    const array = BFloat16Array.of(value);
    const distance = Math.abs(array.toFloat32Array()[0] - value);
    for (const step of [-1, 1]) {
      const neighbor = array.slice();
      neighbor[0] += step;
      const [other] = neighbor.toFloat32Array();
      if (!Number.isNaN(other)) assert(Math.abs(other - value) >= distance, `${value}`);
    }
  }));
});

Deno.test("a BFloat16Array is made of numbers, of bit patterns, on a buffer, and of another", () => {
  const values = (array: BFloat16Array) => Array.from(array.toFloat32Array());
  const array = BFloat16Array.from([1, -2, 0.1]);
  assertEquals(values(array), [1, -2, 0.10009765625]);
  assertEquals([array[0], array[1], array[2]], [0x3f80, 0xc000, 0x3dcd]); // bit patterns
  assertEquals(values(BFloat16Array.from(new Set([1, 2]))), [1, 2]);
  assertEquals(values(BFloat16Array.from([1, 2], (x, i) => 10 * x + i)), [10, 21]);
  assertEquals(values(BFloat16Array.from(array)), values(array));
  assertEquals(values(BFloat16Array.from({ length: 1, 0: 3 })), [3]);
  assertEquals(values(new BFloat16Array(2)), [0, 0]);
  assertEquals(values(new BFloat16Array(Uint16Array.of(0x3f80))), [1]);
  assertEquals(values(new BFloat16Array(array.buffer, 2, 1)), [-2]);
  assertEquals(values(new BFloat16Array(new SharedArrayBuffer(2))), [0]);
  const view = array.subarray(1);
  view[0] = 0x4040;
  assertEquals(values(array), [1, 3, 0.10009765625], "a subarray shares the elements");
  assertEquals(values(array.slice(0, 1)), [1]);
  // What a copy between threads leaves of it.
  assertEquals(values(new BFloat16Array(structuredClone(array) as Uint16Array)), values(array));
});

Deno.test("a BFloat16Array is not made by new of what would be taken for bit patterns", () => {
  for (const list of [[1.5], Float32Array.of(1.5), new Int16Array(1), new Set([1])]) {
    const make = () => new BFloat16Array(list as unknown as Uint16Array);
    assertThrows(make, TypeError, "use BFloat16Array.from");
  }
});
