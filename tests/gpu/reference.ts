/**
 * The arithmetic of a GPU, as tests find it out, and the rule on the host in that arithmetic. WGSL lets a
 * device round `fma` once or twice, and lets it take subnormal numbers for zeros. Whichever it does, a
 * step has exactly the bits of this reference.
 */

import { assertEquals } from "@std/assert";
import type { ParamGroup } from "@descent/sgd";
import type { Gpu } from "@descent/sgd/gpu";
import { FLOAT32 } from "../../src/backends/js/arithmetic.ts";
import { descend, factorsOf, gradient, linesOf, shrink, velocity } from "../../src/core/rule.ts";
import type { Arithmetic } from "../../src/core/rule.ts";

/** What a device does where WGSL leaves it the choice. */
export interface Habits {
  /** How often `fma` rounds. */
  readonly rounds: "once" | "twice";
  /** Whether operations take subnormal operands for zeros, and whether they give zeros for them. */
  readonly flushes: "nothing" | "operands" | "results" | "operands and results";
}

/** A shader that computes in the ways that WGSL leaves open: from tensor 0 into tensor 1. */
export const PROBE = `
@group(0) @binding(0) var<storage, read_write> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> b: array<f32>;

@compute @workgroup_size(1)
fn main() {
  b[0] = fma(a[0], a[0], a[1]);
  b[1] = a[2] * a[3];
  b[2] = a[4] * a[5];
}`;

/** A subnormal number. */
const SMALL = 2 ** -130;

/** What the shader computes with. */
export const OPERANDS: readonly number[] = [
  ...[1 + 2 ** -12, -(1 + 2 ** -11)],
  ...[SMALL, 2 ** 30],
  ...[2 ** -100, 2 ** -30],
];

/** Finds out what a device does. */
export function probe(gpu: Gpu): Habits {
  using a = gpu.tensor(Float32Array.from(OPERANDS));
  using b = gpu.tensor(3);
  using kernel = gpu.kernel({ code: PROBE, entryPoint: "main" });
  kernel.dispatch([a, b], [1]);
  return habitsOf(b.readSync());
}

/** What a device does, from what its shader has computed. Accepts nothing that WGSL does not allow. */
export function habitsOf([difference, product, tiny]: Float32Array): Habits {
  assertEquals([0, 2 ** -24].includes(difference), true, `fma gives ${difference}`);
  assertEquals([0, 2 ** -100].includes(product), true, `a product with a subnormal is ${product}`);
  assertEquals([0, SMALL].includes(tiny), true, `a subnormal product is ${tiny}`);
  const flushed = [product === 0 ? "operands" : "", tiny === 0 ? "results" : ""].filter(Boolean);
  return {
    rounds: difference === 0 ? "twice" : "once",
    flushes: (flushed.join(" and ") || "nothing") as Habits["flushes"],
  };
}

/** What tests print of it. */
export function describeHabits({ name }: { name: string }, { rounds, flushes }: Habits): string {
  const subnormals = flushes === "nothing" ? "keeps subnormals" : `flushes subnormal ${flushes}`;
  return `${name} rounds fma ${rounds} and ${subnormals}`;
}

const sum = new Float64Array(1);
const sumBits = new BigUint64Array(sum.buffer);

/**
 * `a * b + c`, rounded once to float32. The product is exact in float64. The sum is rounded to odd there,
 * so that rounding it again is as rounding once.
 */
function fuse(a: number, b: number, c: number): number {
  const product = a * b;
  const s = product + c;
  const rest = s - product;
  const error = (product - (s - rest)) + (c - rest);
  if (!Number.isFinite(s) || error === 0) return Math.fround(s);
  sum[0] = s;
  if (sumBits[0] % 2n === 0n) sumBits[0] += (s > 0) === (error > 0) ? 1n : -1n;
  return Math.fround(sum[0]);
}

function flush(x: number): number {
  return Math.abs(x) < 2 ** -126 ? x * 0 : x;
}

/** Float32 with a device's habits. */
export function arithmeticOf({ rounds, flushes }: Habits): Arithmetic<number> {
  const read = flushes.includes("operands") ? flush : (x: number) => x;
  const write = flushes.includes("results") ? flush : (x: number) => x;
  const { mul } = FLOAT32;
  const fma = rounds === "once"
    ? fuse
    : (a: number, b: number, c: number) => Math.fround(write(mul(a, b)) + c);
  return {
    mul: (a, b) => write(mul(read(a), read(b))),
    fma: (a, b, c) => write(fma(read(a), read(b), read(c))),
    sign: (a) => FLOAT32.sign(read(a)),
  };
}

/** What happens to gradients before the rule. */
export interface Preparation {
  readonly scale: number;
  readonly coefficient: number;
  readonly limit: number;
}

/** A parameter on the host. */
export interface Reference {
  readonly data: Float32Array;
  readonly grad: Float32Array;
  /** Null before the first step with momentum. */
  buffer: Float32Array | null;
}

/** One step of a parameter. */
export function stepReference(
  a: Arithmetic<number>,
  w: Reference,
  group: ParamGroup,
  preparation: Preparation | null = null,
): void {
  const f = factorsOf(group, Math.fround);
  const lines = linesOf(group, w.buffer === null);
  const { data, grad } = w;
  if (group.momentum !== 0) w.buffer ??= new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const p = shrink(a, f, lines, data[i]);
    const g = gradient(a, f, lines, p, prepared(a, grad[i], preparation));
    const b = lines.momentum === "none" ? g : velocity(a, f, lines, g, w.buffer![i]);
    if (lines.momentum !== "none") w.buffer![i] = b;
    data[i] = descend(a, f, lines, p, g, b);
  }
}

function prepared(a: Arithmetic<number>, g: number, preparation: Preparation | null): number {
  if (preparation === null) return g;
  const { scale, coefficient, limit } = preparation;
  let h = g;
  if (scale !== 1 || coefficient !== 1) {
    h = a.mul(a.mul(h, Math.fround(scale)), Math.fround(coefficient));
  }
  const most = Math.fround(limit);
  return h > most ? most : h < -most ? -most : h;
}

/** Asserts that arrays have the same bits; any NaN is the same as any other. */
export function assertBits(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
): void {
  assertEquals(actual.length, expected.length, what);
  const wrong = Array.from(actual).findIndex((x, i) => !Object.is(x, expected[i]));
  const text = `${what}: element ${wrong} is ${actual[wrong]}, not ${expected[wrong]}`;
  assertEquals(wrong, -1, text);
}
