/** Split master weights are split and joined as docs/formats.md says. */

import { assert, assertEquals } from "@std/assert";
import {
  joinWords,
  joinWords24,
  splitWords,
  splitWords24,
  splitWords24Nearest,
} from "../../../src/core/split_master.ts";
import * as reference from "./reference.ts";
import { createRandom, createTensor, KINDS } from "./tensors.ts";

const wordsOf = (array: Float32Array) =>
  new Uint32Array(array.buffer, array.byteOffset, array.length);

/** Bits as float32. Of NaN, JavaScript may change the bits only where it passes them as numbers. */
const fromWords = (words: Uint32Array) => new Float32Array(words.buffer);

function splitAll(masters: Float32Array) {
  const params = new Uint16Array(masters.length);
  const corrections = new Int16Array(masters.length);
  splitWords(masters, params, corrections);
  return { params, corrections };
}

function splitAll24(masters: Float32Array, key: number | null, firstBlock = 0) {
  const params = new Uint16Array(masters.length);
  const corrections = new Int8Array(masters.length);
  if (key === null) splitWords24Nearest(masters, params, corrections);
  else splitWords24(masters, params, corrections, key, firstBlock);
  return { params, corrections };
}

const isNaNWord = (word: number) => (word & 0x7fffffff) > 0x7f800000;

/** Every upper half with some lower halves: the ends, the middle, and what is around them. */
function* manyWords(): Generator<Uint32Array> {
  const lowers = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x180, 0x7fff, 0x8000, 0x8001, 0xff7f, 0xff80];
  for (const lower of [...lowers, 0x5a5a, 0xa5a5, 0xfffe, 0xffff]) {
    yield Uint32Array.from({ length: 0x10000 }, (_, upper) => (upper << 16 | lower) >>> 0);
  }
}

Deno.test("16 and 16 bits are the master weight, for every upper half", () => {
  for (const words of manyWords()) {
    const { params, corrections } = splitAll(fromWords(words));
    const back = new Float32Array(words.length);
    joinWords(params, corrections, back);
    const joined = wordsOf(back);
    for (const [i, word] of words.entries()) {
      if (isNaNWord(word)) assert(isNaNWord(params[i] << 16) && corrections[i] === 0);
      else if (joined[i] !== word) {
        throw new Error(`${word.toString(16)}: ${joined[i].toString(16)}`);
      }
    }
  }
});

Deno.test("the parameter is the nearest bfloat16, ties away from zero", () => {
  for (const words of manyWords()) {
    const { params } = splitAll(fromWords(words));
    for (const [i, word] of words.entries()) {
      if (isNaNWord(word)) continue;
      const expected = (word >>> 16) + ((word & 0xffff) >= 0x8000 ? 1 : 0);
      if (params[i] !== expected) throw new Error(word.toString(16));
    }
  }
});

Deno.test("16 and 8 bits are the master weight rounded to 24 bits, for every upper half", () => {
  for (const words of manyWords()) {
    for (const key of [null, 1, -99]) {
      const { params, corrections } = splitAll24(fromWords(words), key);
      const back = new Float32Array(words.length);
      joinWords24(params, corrections, back);
      const joined = wordsOf(back);
      for (const [i, word] of words.entries()) {
        if (isNaNWord(word)) {
          assert(isNaNWord(params[i] << 16) && corrections[i] === 0);
          continue;
        }
        const error = joined[i] - word;
        const isWithin = key === null ? Math.abs(error) <= 0x80 : Math.abs(error) <= 0xff;
        if (!isWithin || joined[i] % 256 !== 0) throw new Error(`${word} became ${joined[i]}`);
      }
    }
  }
});

for (const kind of Object.keys(KINDS)) {
  Deno.test(`${kind} are split and joined as by whole numbers`, () => {
    const random = createRandom(kind.length + 1);
    for (let i = 0; i < 60; i++) {
      const x = createTensor(random, kind);
      const key = random() | 0;
      const words = [...wordsOf(x)].map(BigInt);
      const whole = splitAll(x);
      compare(whole, words.map(reference.split));
      const dithered = splitAll24(x, key);
      const unsigned = BigInt(key >>> 0);
      compare(dithered, words.map((word, i) => reference.split24(word, unsigned, i)));
      compare(splitAll24(x, null), words.map((word, i) => reference.split24(word, null, i)));
    }
  });
}

interface Splits {
  readonly params: Uint16Array;
  readonly corrections: Int16Array | Int8Array;
}

function compare({ params, corrections }: Splits, expected: reference.Split[]): void {
  assertEquals([...params], expected.map(({ param }) => param));
  assertEquals([...corrections], expected.map(({ correction }) => correction));
}

Deno.test("a correction of other parameters makes no NaN, and is at most half a unit off", () => {
  const random = createRandom(3);
  const params = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
  const masters = new Float32Array(params.length);
  const words = wordsOf(masters);
  const check = (corrections: Int16Array | Int8Array, unit: bigint) => {
    for (const [i, param] of params.entries()) {
      const expected = reference.join({ param, correction: corrections[i] }, unit);
      if (BigInt(words[i]) !== expected) throw new Error(`${param} with ${corrections[i]}`);
      if (isNaNWord(words[i]) !== isNaNWord(param << 16)) throw new Error(`NaN from ${param}`);
    }
  };
  for (const fixed of [-32768, -1, 1, 32767, null]) {
    const corrections = Int16Array.from(params, () => fixed ?? random());
    joinWords(params, corrections, masters);
    check(corrections, 1n);
    const short = Int8Array.from(corrections, (value) => value >> 8);
    joinWords24(params, short, masters);
    check(short, 256n);
  }
});

Deno.test("blocks have their own numbers, whichever part splits them", () => {
  const random = createRandom(9);
  const x = Float32Array.from({ length: 200 }, () => KINDS["a wide range"](random));
  const whole = splitAll24(x, 77);
  for (const from of [32, 160]) {
    const part = splitAll24(x.subarray(from), 77, from / 32);
    assertEquals(part.params, whole.params.slice(from));
    assertEquals(part.corrections, whole.corrections.slice(from));
  }
});

Deno.test("small steps add up on average in 24 bits, and are lost when they are rounded to the nearest", () => {
  const run = (isDithered: boolean) => {
    let masters = new Float32Array(3200).fill(1);
    for (let counter = 0; counter < 500; counter++) {
      const { params, corrections } = splitAll24(
        masters.map((value) => value * (1 + 2 ** -18)),
        isDithered ? Math.imul(counter, 0x91e10da5) : null,
      );
      masters = new Float32Array(masters.length);
      joinWords24(params, corrections, masters);
    }
    return masters.reduce((a, b) => a + b) / masters.length - 1;
  };
  assertEquals(run(false), 0);
  const exact = (1 + 2 ** -18) ** 500 - 1;
  assert(Math.abs(run(true) / exact - 1) < 0.02, `${run(true)} instead of ${exact}`);
});
