/** The WebAssembly of the js backend against its plain loop. */

import { assertEquals } from "@std/assert";
import { sweepElements } from "../../src/backends/js/tiles.ts";
import { SGD, sgd, type SparseParameter } from "../../mod.ts";
import { dtypeOf, FLOAT32, type WideDtype } from "../../src/core/dtype.ts";
import type { FloatArray } from "../../src/core/host_array.ts";
import { factorsOf, type Lines } from "../../src/core/rule.ts";
import { compile, copiedPlaces, plainFormat } from "../../src/backends/js/wasm/kernel.ts";
import { isAvailable, isFused, TILE } from "../../src/backends/js/wasm/memory.ts";
import { Workspace } from "../../src/backends/js/wasm/workspace.ts";

const flags = [false, true];
const choices: Lines[] = (["none", "first", "later"] as const).flatMap((momentum) =>
  (["none", "coupled", "decoupled"] as const).flatMap((decay) =>
    flags.flatMap((nesterov) =>
      flags.map((sign) => ({ momentum, decay, nesterov: nesterov && momentum !== "none", sign }))
    )
  )
);
const special = [0, -0, 1, -1, NaN, Infinity, -Infinity, 1e-45, -1e-40, 3e38, -1e-320, 1e308];
const options = { lr: 0.1, momentum: 0.9, dampening: 0.25, weightDecay: 0.01 };
const h = { ...options, nesterov: false, maximize: true, sign: false, decoupledWeightDecay: false };

/** A wave with all bits of the mantissa in use, special values in front. */
function fill(array: FloatArray, phase: number): FloatArray {
  for (let i = 0; i < array.length; i++) array[i] = Math.sin(i * 1.7 + phase) * 3;
  array.set(special.map((_, i) => special[(i + phase) % special.length]));
  return array;
}

function tilesOf(workspace: Workspace, dtype: WideDtype): FloatArray[] {
  const names = ["param", "grad", "buffer"] as const;
  return names.map((name) => workspace.tileOf(dtype, name) as FloatArray);
}

for (const make of [Float32Array, Float64Array]) {
  const dtype = dtypeOf(new make(0), "an array") as WideDtype;
  for (const lines of choices) {
    const name = `${dtype.name} ${Object.values(lines).join(" ")}`;
    Deno.test(`without fused operations WebAssembly gives the bits of the loop: ${name}`, () => {
      const workspace = new Workspace();
      const [param, grad, buffer] = tilesOf(workspace, dtype).map(fill);
      const expected = [param, grad, buffer].map((tile) => tile.slice());
      const f = factorsOf(h, dtype.round);
      const kernel = compile(plainFormat(dtype, lines), workspace.memory, false);
      kernel(TILE, { factors: f, preparation: null, key: 0 }, copiedPlaces());
      sweepElements(dtype, lines, f, expected[0], expected[1], expected[2], 0);
      for (const [i, tile] of [param, grad, buffer].entries()) {
        assertEquals(firstDifference(tile, expected[i]), -1);
      }
    });
  }
}

Deno.test("a kernel stops at the vector that holds its last element", () => {
  const dtype = FLOAT32;
  const workspace = new Workspace();
  const [param, grad] = tilesOf(workspace, dtype);
  param.fill(1);
  grad.fill(1);
  const lines: Lines = { momentum: "none", decay: "none", nesterov: false, sign: false };
  const factors = factorsOf({ ...h, lr: 1 }, dtype.round);
  const kernel = workspace.kernelOf(plainFormat(dtype, lines));
  kernel(5, { factors, preparation: null, key: 0 }, copiedPlaces());
  assertEquals([...param.subarray(0, 10)], [2, 2, 2, 2, 2, 2, 2, 2, 1, 1]);
});

Deno.test("Deno has WebAssembly with SIMD, and x86-64 with FMA or ARM64 fuses", () => {
  assertEquals(isAvailable(), true);
  if (Deno.build.arch === "aarch64") assertEquals(isFused(), true);
  else assertEquals(typeof isFused(), "boolean");
});

const MOMENTUM = { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 };

/** Parameters of some lengths, of which not all are whole vectors or tiles. */
function makeParameters(make: typeof Float32Array | typeof Float64Array) {
  return [TILE + 3, 70, 5, 3 * TILE, 64].map((length, i) => ({
    data: fill(new make(Math.max(length, special.length)), i),
    grad: fill(new make(Math.max(length, special.length)), i + 1),
  }));
}

for (const make of [Float32Array, Float64Array]) {
  const inPlace = `${make.name}: momentum buffers that stay in WebAssembly's memory`;

  Deno.test(`${inPlace} have the bits of buffers that are copied`, () => {
    const [own, copied] = [makeParameters(make), makeParameters(make)];
    const optimizer = new SGD(own, { ...MOMENTUM, backend: "js" });
    for (let step = 0; step < 3; step++) {
      optimizer.step();
      for (const { grad } of own) grad.reverse();
    }
    const [data, grads] = [copied.map(({ data }) => data), copied.map(({ grad }) => grad)];
    const list: (FloatArray | null)[] = data.map(() => null);
    for (let step = 0; step < 3; step++) {
      sgd(data, grads, list, { dampening: 0, maximize: false, backend: "js", ...MOMENTUM });
      for (const grad of grads) grad.reverse();
    }
    for (const [i, parameter] of own.entries()) {
      const buffer = optimizer.state.get(parameter)!.momentumBuffer!;
      assertEquals(firstDifference(parameter.data, data[i]), -1);
      assertEquals(firstDifference(buffer, list[i]!), -1);
      assertEquals([buffer.buffer.byteLength > 1 << 16, list[i]!.byteOffset], [true, 0]);
    }
  });

  Deno.test(`${inPlace} keep to the rows of sparse gradients`, () => {
    const [rows, columns] = [400, 67]; // rows that end within a vector
    const makeMatrix = (): SparseParameter => ({
      data: fill(new make(rows * columns), 0),
      grad: {
        indices: Int32Array.of(3, 4, 399, 0),
        values: fill(new make(4 * columns), 1),
        shape: [rows, columns],
      },
    });
    const [own, copied] = [makeMatrix(), makeMatrix()];
    const optimizer = new SGD([own], { lr: 0.1, momentum: 0.9, backend: "js" });
    const list: (FloatArray | null)[] = [null];
    const options = { dampening: 0, weightDecay: 0, nesterov: false, maximize: false } as const;
    for (let step = 0; step < 3; step++) {
      optimizer.step();
      sgd([copied.data], [copied.grad], list, {
        ...options,
        lr: 0.1,
        momentum: 0.9,
        backend: "js",
      });
    }
    assertEquals(firstDifference(own.data, copied.data), -1);
    assertEquals(firstDifference(optimizer.state.get(own)!.momentumBuffer!, list[0]!), -1);
  });
}

Deno.test("a float64 step has the same bits with options and without, also in its last tile", () => {
  const make = () => {
    const [w] = makeParameters(Float64Array);
    return { w, optimizer: new SGD([w], { ...MOMENTUM, backend: "js" }) };
  };
  const [plain, prepared] = [make(), make()];
  for (let i = 0; i < 3; i++) {
    plain.optimizer.step();
    prepared.optimizer.step({ maxValue: Infinity });
  }
  assertEquals(firstDifference(plain.w.data, prepared.w.data), -1);
});

Deno.test("narrow rows of sparse gradients have the bits of a dense step", () => {
  const shape = [300, 63] as const;
  const make = () => fill(new Float64Array(300 * 63), 0);
  const values = fill(new Float64Array(300 * 63), 1);
  const [dense, sparse] = [make(), make()];
  const indices = Int32Array.from({ length: 300 }, (_, i) => i);
  new SGD([{ data: dense, grad: values }], { lr: 0.1, backend: "js" }).step();
  const matrix: SparseParameter = { data: sparse, grad: { indices, values, shape } };
  new SGD([matrix], { lr: 0.1, backend: "js" }).step();
  assertEquals(firstDifference(dense, sparse), -1);
});

Deno.test("loaded momentum buffers stay in WebAssembly's memory too", () => {
  const parameters = makeParameters(Float32Array);
  const first = new SGD(parameters, { ...MOMENTUM, backend: "js" });
  first.step();
  const next = new SGD(parameters, { ...MOMENTUM, backend: "js" });
  next.loadStateDict(first.stateDict());
  const [a, b] = [first, next].map(({ state }) => state.get(parameters[0])!.momentumBuffer!);
  assertEquals(firstDifference(a, b), -1);
  assertEquals([b.buffer.byteLength > 1 << 16, a.buffer === b.buffer], [true, false]);
});

/** The first element that differs, be it in a zero's sign; -1 if none does. */
function firstDifference(a: FloatArray, b: FloatArray): number {
  assertEquals(a.length, b.length);
  return a.findIndex((value, i) => !Object.is(value, b[i]));
}
