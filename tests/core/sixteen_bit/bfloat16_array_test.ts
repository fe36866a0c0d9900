/** The methods of `BFloat16Array` take and give numbers; indexing alone has bits. */

import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { BFloat16Array, clipGradNorm, decodeStateDict, encodeStateDict, SGD } from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";

/** Both classes have the methods of this one. */
type Floats = Float32Array;

/** Numbers that bfloat16 has. The order of the bits of negative ones is not that of the numbers. */
const NUMBERS = [1.5, -2, 0, 0.5, 3, -0.25, 0.5];

/** What each method of typed arrays does to an array, and returns. */
const CASES: Record<string, (array: Floats) => unknown> = {
  at: (array) => [array.at(0), array.at(-1), array.at(7)],
  copyWithin: (array) => array.copyWithin(0, 3),
  entries: (array) => [...array.entries()],
  every: (array) => [array.every((x) => x < 4), array.every((x) => x > 0)],
  fill: (array) => [array.fill(-7, 2, 4), array.fill(0.5)],
  filter: (array) => array.filter((x) => x < 0),
  find: (array) => array.find((x) => x < 0),
  findIndex: (array) => array.findIndex((x) => x > 2),
  findLast: (array) => array.findLast((x) => x < 0),
  findLastIndex: (array) => array.findLastIndex((x) => x === 0.5),
  forEach: (array) => {
    const seen: unknown[] = [];
    array.forEach((x, i) => seen.push([x, i]));
    return seen;
  },
  includes: (array) => [array.includes(3), array.includes(16256)],
  indexOf: (array) => [array.indexOf(0.5), array.indexOf(0.5, 4), array.indexOf(9)],
  join: (array) => [array.join(), array.join(" ")],
  keys: (array) => [...array.keys()],
  lastIndexOf: (array) => [array.lastIndexOf(0.5), array.lastIndexOf(0.5, 5)],
  map: (array) => array.map((x, i) => 2 * x + i),
  reduce: (array) => [array.reduce((a, b) => a + b), array.reduce((a, b) => a + b, "")],
  reduceRight: (array) => array.reduceRight((a, b) => a + b, ""),
  reverse: (array) => array.reverse(),
  set: (array) => {
    array.set([4, -4], 1);
    array.set(Float32Array.of(0.25), 4);
    array.set({ length: 1, 0: 8 }, 6);
    return array;
  },
  slice: (array) => array.slice(1, 3),
  some: (array) => [array.some((x) => x === -0.25), array.some((x) => x > 4)],
  sort: (array) => [array.sort(), array.sort((a, b) => b - a)],
  subarray: (array) => array.subarray(1, 3),
  toLocaleString: (array: Floats) => array.toLocaleString(),
  toReversed: (array) => array.toReversed(),
  toSorted: (array) => [array.toSorted(), array.toSorted((a, b) => Math.abs(a) - Math.abs(b))],
  toString: (array: Floats) => `${array}`,
  values: (array) => [...array.values()],
  with: (array) => [array.with(1, 9), array.with(-1, -9)],
};

const prototype: object = Object.getPrototypeOf(Float32Array.prototype);

/** A result with lists of numbers in place of arrays. */
function plain(result: unknown): unknown {
  if (result instanceof BFloat16Array) return [...result.toFloat32Array()];
  if (result instanceof Float32Array) return [...result];
  return Array.isArray(result) ? result.map(plain) : result;
}

for (const [name, call] of Object.entries(CASES)) {
  Deno.test(`${name} of a BFloat16Array does what it does of a Float32Array`, () => {
    const [own, floats] = [BFloat16Array.from(NUMBERS), Float32Array.from(NUMBERS)];
    const [result, expected] = [call(own as unknown as Floats), call(floats)];
    assertEquals(plain(result), plain(expected));
    assertEquals(plain(own), plain(floats));
    if (expected instanceof Float32Array) assertInstanceOf(result, BFloat16Array);
  });
}

Deno.test("every method that typed arrays have is held to that of a Float32Array", () => {
  const methods = Object.entries(Object.getOwnPropertyDescriptors(prototype))
    .filter(([, { value }]) => typeof value === "function")
    .map(([name]) => name);
  assert(methods.length > 30);
  assertEquals(methods.filter((name) => name !== "constructor").sort(), Object.keys(CASES).sort());
});

Deno.test("a BFloat16Array iterates over its numbers, as they are at the time", () => {
  const array = BFloat16Array.from(NUMBERS);
  assertEquals([...array], NUMBERS);
  assertEquals([...array.numbers()], NUMBERS);
  assertEquals(Array.from(array, (x) => 2 * x), NUMBERS.map((x) => 2 * x));
  assertEquals([...Float32Array.from(array)], NUMBERS);
  assertEquals(Math.max(...array), 3);
  const numbers = array.numbers();
  numbers.next();
  array.setNumber(1, 40);
  assertEquals(numbers.next().value, 40);
});

Deno.test("get and setNumber have numbers, where indexing has bits", () => {
  const array = new BFloat16Array(2);
  array.setNumber(0, 0.1);
  array[1] = 0x4049;
  assertEquals([array.get(0), array[0]], [0.10009765625, 0x3dcd]);
  assertEquals([array.get(1), array.at(1)], [3.140625, 3.140625]);
});

/** It lies above the middle of 1 and the next bfloat16 by less than a float32 has room for. */
const ABOVE = 1 + 2 ** -8 + 2 ** -40;

Deno.test("numbers are rounded once, also those that a float32 would round to a tie", () => {
  const expected = BFloat16Array.of(ABOVE)[0];
  assertEquals(expected, 0x3f81);
  const write: ((array: BFloat16Array) => unknown)[] = [
    (array) => array.fill(ABOVE),
    (array) => array.set([ABOVE]),
    (array) => array.set(Float64Array.of(ABOVE)),
    (array) => array.setNumber(0, ABOVE),
    (array) => array.set(array.map(() => ABOVE)),
    (array) => array.set(array.with(0, ABOVE)),
    (array) => array.set(BFloat16Array.from([0], () => ABOVE)),
  ];
  for (const change of write) {
    const array = new BFloat16Array(1);
    change(array);
    assertEquals(array[0], expected, `${change}`);
  }
});

Deno.test("a Uint16Array or a BFloat16Array as a source is bits, signaling NaNs and all", () => {
  const bits = Uint16Array.of(0x3f80, 0xff81, 0xc000);
  const sources = [bits, new BFloat16Array(bits), new Uint16Array(bits.buffer)];
  for (const source of sources) {
    const set = new BFloat16Array(4);
    set.set(source, 1);
    assertEquals([set[0], set[1], set[2], set[3]], [0, ...bits]);
    for (const made of [new BFloat16Array(source), BFloat16Array.from(source)]) {
      assertEquals([made[0], made[1], made[2]], [...bits]);
    }
    assertEquals([...BFloat16Array.from(source, (x) => 2 * x)], [2, NaN, -4]);
  }
});

Deno.test("set takes numbers from the memory that it writes to", () => {
  const buffer = new ArrayBuffer(8);
  const floats = new Float32Array(buffer);
  floats.set([1, 2]);
  const array = new BFloat16Array(buffer, 0, 2);
  array.set(floats);
  assertEquals([...array], [1, 2]);
});

Deno.test("what does not fit changes nothing", () => {
  const array = BFloat16Array.of(1, 2);
  const writes = [
    () => array.set([3, 4, 5]),
    () => array.set([3], 2),
    () => array.set([3], -1),
    () => array.set(Uint16Array.of(1, 2, 3)),
    () => array.with(2, 3),
    () => array.with(-3, 3),
  ];
  for (const write of writes) assertThrows(write, RangeError);
  assertThrows(() => array.set([3, 4n as unknown as number]), TypeError);
  assertThrows(() => array.fill(3n as unknown as number), TypeError);
  assertEquals([...array], [1, 2]);
});

Deno.test("an element that is not there is refused", () => {
  const array = BFloat16Array.of(1, 2);
  for (const index of [-1, 2, 0.5, NaN, Infinity]) {
    const said = `the index must be a whole number >= 0 and < 2: current value is ${index}`;
    assertThrows(() => array.get(index), RangeError, `Cannot read an element as ${said}`);
    assertThrows(() => array.setNumber(index, 3), RangeError, `Cannot write an element as ${said}`);
  }
  const words = 'the index must be a number: current value is "1"';
  assertThrows(() => array.get("1" as unknown as number), TypeError, words);
  assertEquals([...array], [1, 2]);
});

Deno.test("a function that is given to a method gets the array, the index and its this", () => {
  const array = BFloat16Array.of(1, 2);
  const calls = ["every", "filter", "find", "findIndex", "findLast", "findLastIndex", "forEach"];
  for (const name of [...calls, "map", "some"]) {
    const seen: unknown[] = [];
    const method = array[name as "forEach"] as unknown as (f: unknown, self: unknown) => unknown;
    const self = {};
    const given = function (this: unknown, ...[x, i, whole]: unknown[]) {
      seen.push([x, i, whole === array, this === self]);
      return name === "every";
    };
    method.call(array, given, self);
    if (/Last/.test(name)) seen.reverse();
    assertEquals(seen, [[1, 0, true, true], [2, 1, true, true]], name);
  }
  const wholes: unknown[] = [];
  array.reduce((sum, x, i, whole) => (wholes.push([sum, x, i, whole === array]), sum + x), 10);
  assertEquals(wholes, [[10, 1, 0, true], [11, 2, 1, true]]);
});

Deno.test("JSON of a BFloat16Array has its numbers", () => {
  const [own, floats] = [BFloat16Array.from(NUMBERS), Float32Array.from(NUMBERS)];
  assertEquals(JSON.stringify({ own }), JSON.stringify({ own: floats }));
});

/** Steps with everything that reads or writes bfloat16, and the bits that come of it. */
function run(backend: "cpu" | "js"): number[] {
  const bits: number[] = [];
  for (const length of [3, 100, 5_000]) {
    const make = (scale: number) => {
      const array = new BFloat16Array(length);
      for (let i = 0; i < length; i++) array[i] = scale + i % 256;
      return array;
    };
    const w = { data: make(0x3f00), grad: make(0x3e00) };
    const options = { lr: 0.1, momentum: 0.9, backend };
    for (const more of [{}, { masterWeights: true }, { masterWeights: "split" }] as const) {
      const optimizer = new SGD<BFloat16Array>([w], { ...options, ...more });
      optimizer.step();
      clipGradNorm([w], 1, { backend });
      optimizer.step({ maxNorm: 0.5, gradScale: 2, addGradients: [[make(0x3e00)]] });
      const bytes = encodeStateDict(optimizer.stateDict({ parameters: true }));
      optimizer.step({ zeroGrad: true });
      optimizer.loadStateDict(decodeStateDict(bytes), { parameters: true });
      for (const array of [w.data, w.grad]) for (let i = 0; i < length; i++) bits.push(array[i]);
      for (let i = 0; i < length; i++) w.grad[i] = 0x3e00 + i % 256;
      optimizer.zeroGrad();
      bits.push(w.grad[0]);
    }
  }
  return bits;
}

testOnBackends("steps and checkpoints do not call the methods of a BFloat16Array", (backend) => {
  const expected = run(backend);
  const own = BFloat16Array.prototype as unknown as Record<PropertyKey, unknown>;
  const names = Reflect.ownKeys(own).filter((name) =>
    !["constructor", "subarray"].includes(String(name))
  );
  const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(own, name)!] as const);
  try {
    for (const name of names) {
      Object.defineProperty(own, name, {
        configurable: true,
        value: () => {
          throw new Error(`${String(name)} was called`);
        },
      });
    }
    assertEquals(run(backend), expected);
  } finally {
    for (const [name, descriptor] of before) Object.defineProperty(own, name, descriptor);
  }
});

Deno.test("set refuses what has no numbers to set, as an iterator has none by index", () => {
  const array = BFloat16Array.from(NUMBERS);
  for (const values of [new Set([1]), [1].values(), {}, 1, true, null, undefined]) {
    const set = () => array.set(values as unknown as number[]);
    assertThrows(set, TypeError, "Cannot set elements as the values must be an array of numbers");
  }
  assertEquals([...array], NUMBERS);
});

Deno.test("an array is bits by what it is, whatever it says of itself", () => {
  const [half, array] = [BFloat16Array.of(0.5), new BFloat16Array(1)];
  const bits = new Uint16Array(half);
  Object.defineProperty(bits, Symbol.toStringTag, { value: "Named" });
  array.set(bits);
  for (const made of [array, new BFloat16Array(bits), BFloat16Array.from(bits)]) {
    assertEquals([...made], [0.5]);
  }
  const liar = { length: 1, 0: 3, [Symbol.toStringTag]: "Uint16Array" };
  array.set(liar);
  assertEquals(array.get(0), 3);
  const make = () => new BFloat16Array(liar as unknown as Uint16Array);
  assertThrows(make, TypeError, "use BFloat16Array.from");
});
