/** The sum of a product in float32 on the `js` backend, against whole numbers of any size. */

import { assert, assertEquals } from "@std/assert";
import { BFloat16Array, SGD } from "@descent/sgd";
import { FLOAT32 as arithmetic } from "../../src/backends/js/arithmetic.ts";
import { compile, copiedPlaces, plainFormat } from "../../src/backends/js/wasm/kernel.ts";
import { TILE } from "../../src/backends/js/wasm/memory.ts";
import { Workspace } from "../../src/backends/js/wasm/workspace.ts";
import { FLOAT32 } from "../../src/core/dtype.ts";
import type { Lines } from "../../src/core/rule.ts";
import { testOnBackends } from "../support/backends.ts";

const LARGEST = (2 - 2 ** -23) * 2 ** 127;
const SMALLEST = 2 ** -149;

/** Factors, a term, and the sum of the product and the term. */
type Case = readonly [a: number, b: number, c: number];

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** A finite float32 as a multiple of the smallest one. */
function toWhole(value: number): bigint {
  float[0] = value;
  const [exponent, fraction] = [word[0] >>> 23 & 0xff, word[0] & 0x7fffff];
  const whole = exponent === 0
    ? BigInt(fraction)
    : BigInt(fraction | 0x800000) << BigInt(exponent - 1);
  return word[0] >>> 31 === 0 ? whole : -whole;
}

/** The nearest float32 to a multiple of 2^-298, ties to even. */
function nearest(whole: bigint): number {
  const magnitude = whole < 0n ? -whole : whole;
  const dropped = BigInt(Math.max(magnitude.toString(2).length - 24, 149));
  const half = 1n << (dropped - 1n);
  let kept = magnitude >> dropped;
  const rest = magnitude - (kept << dropped);
  if (rest > half || rest === half && (kept & 1n) === 1n) kept++;
  const value = Number(kept) * 2 ** (Number(dropped) - 298);
  return (whole < 0n ? -1 : 1) * (value > LARGEST ? Infinity : value);
}

let seed = 1;

/** Any bits. */
function draw(): number {
  seed = Math.imul(seed, 1664525) + 1013904223 | 0;
  word[0] = seed ^ seed >>> 15;
  seed = Math.imul(seed, 1664525) + 1013904223 | 0;
  word[0] ^= seed << 16;
  return Number.isFinite(float[0]) ? float[0] : draw();
}

/** Products of about half a unit in the last place of the term, a little more or less. */
function* aroundTies(factor: number, count: number, term: () => number): Generator<Case> {
  for (let i = 0; i < count; i++) {
    const c = term();
    const exponent = Math.max(Math.floor(Math.log2(Math.abs(c))), -126);
    const product = (i % 2 === 0 ? 1 : -1) * 2 ** (exponent - 24);
    yield [factor, Math.fround(product / factor * (1 + (i % 5 - 2) * 2 ** -23)), c];
  }
}

function* atOverflow(factor: number): Generator<Case> {
  for (const sign of [1, -1]) {
    for (let k = -20; k <= 20; k++) {
      const product = 2 ** 103 / factor * (1 + k * 2 ** -23);
      yield [factor, Math.fround(sign * product), sign * LARGEST];
    }
  }
}

/** Some that a float32 nearly has the inverse of: sums then differ from halfway by very little. */
const FACTORS = [
  ...[1, -0.01, 0.9, 3, 1 + 2 ** -12, 2 ** 30 + 2 ** 10],
  ...[1 + 2 ** -23, (1 + 2 ** -23) * 2 ** -60],
].map(Math.fround);

const drawSubnormal = () => (draw(), word[0] &= 0x807fffff, float[0] || SMALLEST);

function casesOf(factor: number): Case[] {
  const drawn = Array.from({ length: 500 }, (): Case => [factor, draw(), draw()]);
  const subnormal = Array.from({ length: 500 }, (): Case => [
    factor,
    Math.fround(SMALLEST * (draw() % 64) / factor),
    drawSubnormal(),
  ]);
  const cases = [
    ...[...drawn, ...subnormal, ...atOverflow(factor)],
    ...aroundTies(factor, 2000, draw),
    ...aroundTies(factor, 2000, drawSubnormal),
  ];
  // A sum of 0 has a sign, which whole numbers lack.
  return cases.filter(([a, b, c]) => Number.isFinite(b) && a * b + c !== 0);
}

const exactSum = ([a, b, c]: Case) => nearest(toWhole(a) * toWhole(b) + (toWhole(c) << 149n));

const cases = FACTORS.map(casesOf);

Deno.test("the cases have sums that two roundings get wrong", () => {
  const wrong = cases.flat().filter((each) => {
    const [a, b, c] = each;
    return Math.fround(a * b + c) !== exactSum(each);
  });
  assert(wrong.length > 300, `${wrong.length}`);
  assert(wrong.some((each) => Math.abs(exactSum(each)) < 2 ** -126));
  assert(wrong.some((each) => Math.abs(exactSum(each)) === LARGEST));
});

Deno.test("the loops of float32 round the sum of a product once", () => {
  for (const each of cases.flat()) {
    assertEquals(arithmetic.fma(...each), exactSum(each), each.join(" "));
  }
});

Deno.test("NaN, infinities and zeros come out as of two roundings", () => {
  const special = [NaN, Infinity, -Infinity, 0, -0, 1, -1];
  for (const a of special) {
    for (const b of special) {
      for (const c of special) assertEquals(arithmetic.fma(a, b, c), Math.fround(a * b + c));
    }
  }
});

const PLAIN: Lines = { momentum: "none", decay: "none", nesterov: false, sign: false };

Deno.test("WebAssembly that does not fuse rounds the sum of a product once", () => {
  const workspace = new Workspace();
  const kernel = compile(plainFormat(FLOAT32, PLAIN), workspace.memory, false);
  const [param, grad] = [workspace.tileOf(FLOAT32, "param"), workspace.tileOf(FLOAT32, "grad")];
  for (const list of cases) {
    assert(list.length <= TILE);
    param.set(list.map(([, , c]) => c));
    grad.set(list.map(([, b]) => b));
    const rates = { weightDecay: 0, shrink: 1, momentum: 0, blend: 1, negativeLr: list[0][0] };
    const factors = { orientation: 1, ...rates };
    kernel(TILE, { factors, preparation: null, key: 0 }, copiedPlaces());
    for (const [i, each] of list.entries()) assertEquals(param[i], exactSum(each), each.join(" "));
  }
});

testOnBackends(
  "the correction of a split master weight does not depend on the length",
  (backend) => {
    for (const length of [33, 64]) {
      const w = {
        data: new BFloat16Array(new Uint16Array(length).fill(0x0d80)),
        grad: new BFloat16Array(new Uint16Array(length).fill(0xbfa0)),
      };
      const optimizer = new SGD([w], { lr: 0.01, masterWeights: "split", backend });
      optimizer.step();
      assertEquals(optimizer.state.get(w)!.correction![0], -13107);
    }
  },
);
