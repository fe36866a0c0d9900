/** Momentum in 8 bits is encoded and decoded as docs/formats.md says. */

import { assert, assertEquals } from "@std/assert";
import {
  bytesOf,
  decode,
  encode,
  encodeNearest,
  keyOf,
  scalesCount,
  scalesOffset,
} from "../../../src/core/momentum8.ts";
import * as reference from "./reference.ts";
import { createRandom, createTensor, KINDS } from "./tensors.ts";

function encoded(x: Float32Array, key: number | null, firstBlock = 0) {
  const values = new Int8Array(x.length);
  const scales = new Uint8Array(scalesCount(x.length));
  if (key === null) encodeNearest(x, values, scales);
  else encode(x, values, scales, key, firstBlock);
  return { values, scales };
}

function decoded({ values, scales }: { values: Int8Array; scales: Uint8Array }): Float32Array {
  const out = new Float32Array(values.length);
  decode(values, scales, out);
  return out;
}

const plain = ({ values, scales }: { values: Int8Array; scales: Uint8Array }) => {
  return { values: [...values], scales: [...scales] };
};

for (const kind of Object.keys(KINDS)) {
  Deno.test(`${kind} are encoded and decoded as by whole numbers`, () => {
    const random = createRandom(kind.length);
    for (let i = 0; i < 60; i++) {
      const x = createTensor(random, kind);
      const [seed, counter, row] = [random() * 2 ** 21 + random() % 99, random(), random() % 1000];
      const key = keyOf({ seed, counter }, row);
      assertEquals(BigInt(key >>> 0), reference.keyOf(seed, counter, row));
      const dithered = encoded(x, key);
      assertEquals(plain(dithered), reference.encode(x, BigInt(key >>> 0)));
      assertEquals(plain(encoded(x, null)), reference.encode(x, null));
      assertEquals([...decoded(dithered)], reference.decode(dithered.values, dithered.scales));
    }
  });
}

Deno.test("a block is encoded by its number in the tensor, whichever part does it", () => {
  const random = createRandom(5);
  const x = Float32Array.from({ length: 200 }, () => KINDS["a wide range"](random));
  const whole = encoded(x, 123);
  for (const from of [32, 64, 160]) {
    const part = encoded(x.subarray(from), 123, from / 32);
    assertEquals(part.values, whole.values.slice(from));
    assertEquals(part.scales, whole.scales.slice(from / 32));
  }
});

Deno.test("what was decoded is encoded as the same values, by any key", () => {
  const random = createRandom(7);
  for (let i = 0; i < 200; i++) {
    const x = createTensor(random, "a wide range");
    const once = decoded(encoded(x, random() | 0));
    assertEquals(decoded(encoded(once, random() | 0)), once);
    assertEquals(decoded(encoded(once, null)), once);
  }
});

Deno.test("the dither has no bias: the mean of many steps is the value", () => {
  const x = Float32Array.from({ length: 32 }, (_, i) => i === 0 ? 1 : i / 1000);
  const sums = new Float64Array(32);
  const steps = 20_000;
  for (let counter = 0; counter < steps; counter++) {
    decoded(encoded(x, keyOf({ seed: 1, counter }, 0))).forEach((value, i) => sums[i] += value);
  }
  const step = 2 ** -6; // of a block with the maximum 1
  for (const [i, sum] of sums.entries()) {
    const deviation = step / 2 / Math.sqrt(steps);
    assert(Math.abs(sum / steps - x[i]) < 5 * deviation, `element ${i}: ${sum / steps}, ${x[i]}`);
  }
});

Deno.test("fresh memory decodes to zeros, and zeros have no dither", () => {
  const fresh = { values: new Int8Array(100), scales: new Uint8Array(4) };
  assertEquals(decoded(fresh), new Float32Array(100));
  const zeros = encoded(new Float32Array(100).fill(-0), 99);
  assertEquals(plain(zeros), { values: new Array(100).fill(0), scales: [18, 18, 18, 18] });
});

Deno.test("values, padding and scales take 1.13 bytes per element at most from 4,096 elements on", () => {
  for (const length of [4096, 4097, 4128, 5000, 100_000, 1_000_001]) {
    assert(scalesOffset(length) >= length && scalesOffset(length) % 64 === 0);
    assert(bytesOf(length) >= scalesOffset(length) + Math.ceil(length / 32));
    assert(bytesOf(length) % 64 === 0 && bytesOf(length) <= 1.13 * length);
  }
});
