/** The WebAssembly of the js backend against its plain loop. */

import { assertEquals } from "@std/assert";
import { sweepElements } from "../src/backends/js_sweep.ts";
import { dtypeOf, FLOAT32, type FloatArray, type WideDtype } from "../src/parameter.ts";
import { factorsOf, type Lines } from "../src/rule.ts";
import { compile, isAvailable, isFused, TILE, tilesOf } from "../src/wasm/kernel.ts";

const flags = [false, true];
const choices: Lines[] = (["none", "first", "later"] as const).flatMap((momentum) =>
  flags.flatMap((decay) =>
    flags.flatMap((nesterov) =>
      flags.map((sign) => ({ momentum, decay, nesterov: nesterov && momentum !== "none", sign }))
    )
  )
);
const special = [0, -0, 1, -1, NaN, Infinity, -Infinity, 1e-45, -1e-40, 3e38, -1e-320, 1e308];
const options = { lr: 0.1, momentum: 0.9, dampening: 0.25, weightDecay: 0.01 };
const h = { ...options, nesterov: false, maximize: true, sign: false };

/** A wave with all bits of the mantissa in use, special values in front. */
function fill(array: FloatArray, phase: number): FloatArray {
  for (let i = 0; i < array.length; i++) array[i] = Math.sin(i * 1.7 + phase) * 3;
  array.set(special.map((_, i) => special[(i + phase) % special.length]));
  return array;
}

for (const make of [Float32Array, Float64Array]) {
  const dtype = dtypeOf(new make(0), "an array") as WideDtype;
  for (const lines of choices) {
    const name = `${dtype.name} ${Object.values(lines).join(" ")}`;
    Deno.test(`without fused operations WebAssembly gives the bits of the loop: ${name}`, () => {
      const tiles = tilesOf(dtype);
      const [param, grad, buffer] = [tiles.param, tiles.grad, tiles.buffer].map(fill);
      const expected = [param, grad, buffer].map((tile) => tile.slice());
      const f = factorsOf(h, dtype.round);
      compile(dtype, lines, false)(TILE, f);
      sweepElements(dtype, lines, f, expected[0], expected[1], expected[2]);
      for (const [i, tile] of [param, grad, buffer].entries()) {
        assertEquals(tile.findIndex((value, k) => !Object.is(value, expected[i][k])), -1);
      }
    });
  }
}

Deno.test("a kernel stops at the vector that holds its last element", () => {
  const dtype = FLOAT32;
  const { param, grad } = tilesOf(dtype);
  param.fill(1);
  grad.fill(1);
  const lines: Lines = { momentum: "none", decay: false, nesterov: false, sign: false };
  compile(dtype, lines)(5, factorsOf({ ...h, lr: 1 }, dtype.round));
  assertEquals([...param.subarray(0, 10)], [2, 2, 2, 2, 2, 2, 2, 2, 1, 1]);
});

Deno.test("Deno has WebAssembly with SIMD, and x86-64 with FMA or ARM64 fuses", () => {
  assertEquals(isAvailable(), true);
  if (Deno.build.arch === "aarch64") assertEquals(isFused(), true);
  else assertEquals(typeof isFused(), "boolean");
});
