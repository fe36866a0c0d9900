/** Sparse gradients: torch's numbers, torch's errors, and what is checked before anything is written. */

import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { SGD, sgd } from "@descent/sgd";
import type { FloatArray, GroupOptions, SparseGrad, SparseParameter } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { digest, generate, samples, toHex } from "../support/golden.ts";
import type { DtypeName, Result } from "../support/golden.ts";

interface Golden {
  readonly case: string;
  readonly dtype: DtypeName;
  readonly seed: number;
  readonly columns: number;
  readonly options: GroupOptions & { lr: number };
  readonly steps: readonly (readonly number[] | "dense" | null)[];
  readonly error: number | null;
  readonly digests: readonly string[];
  readonly data?: Result;
  readonly buffer?: Result | null;
}

const [{ rows: ROWS }, ...goldens] = Deno
  .readTextFileSync(new URL("../golden/sparse.jsonl", import.meta.url))
  .trim().split("\n").map((line) => JSON.parse(line)) as [{ rows: number }, ...Golden[]];

type Indices = SparseGrad["indices"];
const KINDS: readonly ((rows: readonly number[]) => Indices)[] = [
  (rows) => Int32Array.from(rows),
  (rows) => Uint32Array.from(rows),
  (rows) => BigInt64Array.from(rows, BigInt),
];

function gradOf(g: Golden, n: number): FloatArray | SparseGrad | null {
  const step = g.steps[n - 1];
  if (step === null) return null;
  const size = (step === "dense" ? ROWS : step.length) * g.columns;
  const values = generate(g.dtype, "ordinary", [g.seed, 1, n], size);
  if (step === "dense") return values;
  return { indices: KINDS[n % 3](step), values, shape: [ROWS, g.columns] };
}

const startOf = (g: Golden) => generate(g.dtype, "ordinary", [g.seed, 0, 0], ROWS * g.columns);

const present = (arrays: (FloatArray | null)[]) => arrays.filter((array) => array !== null);

const OFF = { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false };

const exact = (g: Golden, backend: string) => backend === "cpu" || g.dtype === "float32";

testOnBackends("sparse steps give torch's numbers", (backend) => {
  for (const g of goldens.filter(({ error }) => error === null)) {
    const w: SparseParameter = { data: startOf(g), grad: null };
    const optimizer = new SGD([w], { ...g.options, backend });
    for (let n = 1; n <= g.steps.length; n++) {
      w.grad = gradOf(g, n);
      optimizer.step();
      const state = present([w.data, optimizer.state.get(w)!.momentumBuffer]);
      const context = `${g.case}, ${g.dtype}, ${g.columns} columns, step ${n}`;
      if (exact(g, backend)) assertEquals(digest(state), g.digests[n - 1], context);
    }
    if (typeof g.data === "string") assertEquals(toHex(w.data), g.data);
    else if (exact(g, backend)) assertEquals(toHex(samples(w.data)), g.data!.samples);
  }
});

testOnBackends("sgd takes sparse gradients, with hasSparseGrad or without", (backend) => {
  for (const g of goldens.filter(({ error }) => error === null)) {
    for (const hasSparseGrad of [true, false]) {
      const data = startOf(g);
      const buffers: (FloatArray | null)[] = [null];
      const options = { ...OFF, ...g.options, hasSparseGrad, backend };
      for (let n = 1; n <= g.steps.length; n++) sgd([data], [gradOf(g, n)], buffers, options);
      const last = g.digests.at(-1);
      if (exact(g, backend)) assertEquals(digest(present([data, ...buffers])), last, g.case);
    }
  }
});

testOnBackends("what torch refuses is refused at the same step, and nothing changes", (backend) => {
  const refused = goldens.filter(({ error }) => error !== null);
  assertEquals(refused.length, 4);
  for (const g of refused) {
    const w: SparseParameter = { data: startOf(g), grad: null, name: "w" };
    const optimizer = new SGD([w], { ...g.options, backend });
    for (let n = 1; n < g.error!; n++) {
      w.grad = gradOf(g, n);
      optimizer.step();
    }
    w.grad = gradOf(g, g.error!);
    const before = digest(present([w.data, optimizer.state.get(w)!.momentumBuffer]));
    for (let attempt = 0; attempt < 2; attempt++) {
      assertStringIncludes(assertThrows(() => optimizer.step()).message, 'parameter 0 ("w")');
    }
    assertEquals(digest(present([w.data, optimizer.state.get(w)!.momentumBuffer])), before);
  }
});

/** The gradient of all rows, with the entries of a row added up in their order. */
function densified({ indices, values, shape: [rows, columns] }: SparseGrad): FloatArray {
  const sum = values instanceof Float32Array
    ? new Float32Array(rows * columns)
    : new Float64Array(rows * columns);
  const seen = new Set<number>();
  Array.from(indices as Int32Array, Number).forEach((row, entry) => {
    for (let c = 0; c < columns; c++) {
      const value = values[entry * columns + c];
      sum[row * columns + c] = seen.has(row) ? sum[row * columns + c] + value : value;
    }
    seen.add(row);
  });
  return sum;
}

/** A digest in which -0 is 0: with maximize, a dense gradient's zeros become -0. */
const signless = (buffer: FloatArray | null) =>
  buffer && digest([(buffer as Float64Array).map((x) => x + 0)]);

function entries(dtype: DtypeName, seed: number, [rows, columns]: [number, number], count: number) {
  const picks = generate("float64", "ordinary", [seed, 2, 0], count);
  const indices = Int32Array.from(picks, (x) => Math.floor(Math.abs(x) * 1e6) % rows);
  const values = generate(dtype, "ordinary", [seed, 3, 0], count * columns);
  return { indices, values, shape: [rows, columns] } satisfies SparseGrad;
}

const equivalents: GroupOptions[] = [
  { momentum: 0.9 },
  { momentum: 0.9, nesterov: true },
  { momentum: 0.5, dampening: 0.25, maximize: true },
  { momentum: 0.9, sign: true },
  { sign: true },
];

testOnBackends("with momentum or sign, a step is that with the dense sum", (backend) => {
  for (const options of equivalents) {
    for (const dtype of ["float32", "float64"] as const) {
      const shape: [number, number] = [700, 130];
      const start = generate(dtype, "ordinary", [1, 0, 0], shape[0] * shape[1]);
      const sparse: SparseParameter = { data: start.slice(), grad: null };
      const dense: SparseParameter = { data: start.slice(), grad: null };
      const [a, b] = [sparse, dense].map((w) => new SGD([w], { lr: 0.1, ...options, backend }));
      for (let n = 1; n <= 3; n++) {
        const grad = entries(dtype, n, shape, [900, 40, 3][n - 1]);
        sparse.grad = grad;
        dense.grad = densified(grad);
        a.step();
        b.step();
        const buffers = [a, b].map((optimizer) => [...optimizer.state.values()][0].momentumBuffer);
        assertEquals(digest([sparse.data]), digest([dense.data]), JSON.stringify(options));
        assertEquals(...buffers.map(signless) as [unknown, unknown]);
      }
    }
  }
});

testOnBackends("without momentum only the rows named are written", (backend) => {
  const shape: [number, number] = [50, 4];
  for (const options of [{}, { sign: true }]) {
    const data = new Float32Array(200).fill(NaN); // NaN - lr * NaN would not show
    data.set([1, 2, 3, 4], 7 * 4);
    const bits = new Uint32Array(data.buffer).map((word, i) => word + (i >= 28 && i < 32 ? 0 : i));
    data.set(new Float32Array(bits.buffer));
    const before = new Uint32Array(data.buffer).slice();
    const w: SparseParameter = {
      data,
      grad: { indices: new Int32Array([7]), values: new Float32Array(4).fill(1), shape },
    };
    new SGD([w], { lr: 0.5, ...options, backend }).step();
    assertEquals([...data.subarray(28, 32)], [0.5, 1.5, 2.5, 3.5]);
    before.fill(0, 28, 32);
    assertEquals(new Uint32Array(data.buffer).fill(0, 28, 32), before);
  }
});

testOnBackends("sparse and dense parameters step side by side, in every grouping", (backend) => {
  for (const foreach of [null, false]) {
    const make = (): SparseParameter[] => [
      { data: new Float32Array([1, 1]), grad: new Float32Array([1, 2]) },
      { data: new Float32Array(6), grad: entriesOf([2, 0, 2], [1, 2, 3, 4, 5, 6], [3, 2]) },
      { data: new Float64Array([1]), grad: null },
      { data: new Float64Array(4), grad: entriesOf([1], [7, 8], [2, 2], Float64Array) },
      { data: new Float32Array(0), grad: entriesOf([], [], [0, 5]) },
    ];
    const params = make();
    const optimizer = new SGD([
      { params: params.slice(0, 2) },
      { params: params.slice(2), lr: 10, foreach },
    ], { lr: 1, backend });
    optimizer.step();
    assertEquals([...params[0].data], [0, -1]);
    assertEquals([...params[1].data], [-3, -4, 0, 0, -6, -8]);
    assertEquals([...params[2].data], [1]);
    assertEquals([...params[3].data], [0, 0, -70, -80]);
    params[1].grad = null;
    optimizer.step();
    assertEquals([...params[1].data], [-3, -4, 0, 0, -6, -8]);
    params[1].grad = new Float32Array(6).fill(1); // without momentum, kinds may alternate
    optimizer.step();
    assertEquals([...params[1].data], [-4, -5, -1, -1, -7, -9]);
  }
});

function entriesOf(
  indices: number[],
  values: number[],
  shape: [number, number],
  kind: Float32ArrayConstructor | Float64ArrayConstructor = Float32Array,
): SparseGrad {
  return { indices: Int32Array.from(indices), values: new kind(values), shape };
}

testOnBackends("zeroGrad leaves no entries, and rows still move by their momentum", (backend) => {
  const grad = entriesOf([1], [2, 4], [2, 2]);
  const w: SparseParameter = { data: new Float32Array(4), grad };
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend });
  optimizer.step();
  optimizer.zeroGrad();
  const empty = w.grad as SparseGrad;
  assertEquals([empty.indices.length, empty.values.length, empty.shape], [0, 0, [2, 2]]);
  assertEquals(grad.values, new Float32Array([2, 4]));
  optimizer.step();
  assertEquals([...w.data], [0, 0, -3, -6]);
  assertEquals([...optimizer.state.get(w)!.momentumBuffer!], [0, 0, 1, 2]);
  optimizer.zeroGrad({ setToNull: true });
  assertStrictEquals(w.grad, null);
});

testOnBackends(
  "a first sparse step starts its buffer from zeros, whatever failed before",
  (backend) => {
    const w: SparseParameter = { data: new Float32Array(4), grad: new Float32Array(4).fill(5) };
    const other = { data: new Float32Array(1), grad: new Float64Array(1) };
    const optimizer = new SGD([w, other], { lr: 1, momentum: 0.5, backend });
    assertThrows(() => optimizer.step(), TypeError, "parameter 1");
    other.grad = new Float32Array(1) as never;
    w.grad = entriesOf([0], [1, 1], [2, 2]);
    optimizer.step();
    assertEquals([...optimizer.state.get(w)!.momentumBuffer!], [1, 1, 0, 0]);
  },
);

type Fault = [what: string, grad: unknown, kind: ErrorConstructor, message: string];

const good = entriesOf([1, 0], [1, 2, 3, 4], [3, 2]);
const wide = (...indices: bigint[]) => ({ ...good, indices: BigInt64Array.from(indices) });

const resizable = () => new Int32Array(new ArrayBuffer(8, { maxByteLength: 16 }));

function detached(): Float32Array {
  const values = new Float32Array(4);
  structuredClone(values, { transfer: [values.buffer] });
  return values;
}

const faults: Fault[] = [
  ["an index past the end", entriesOf([1, 3], [1, 2, 3, 4], [3, 2]), RangeError, "index 1 is 3"],
  ["a negative index", entriesOf([-1, 0], [1, 2, 3, 4], [3, 2]), RangeError, "index 0 is -1"],
  [
    "a huge index",
    { ...good, indices: new Uint32Array([0, 2 ** 32 - 1]) },
    RangeError,
    "index 1 is 4294967295",
  ],
  ["a negative 64-bit index", wide(0n, -1n), RangeError, "index 1 is -1"],
  ["a 64-bit index past 32 bits", wide(1n << 32n, 0n), RangeError, "index 0 is 4294967296"],
  ["a 64-bit index past the end", wide(3n, 0n), RangeError, "index 0 is 3"],
  ["plain indices", { ...good, indices: [1, 0] }, TypeError, "of type Array"],
  ["indices of floats", { ...good, indices: new Float32Array(2) }, TypeError, "Float32Array"],
  ["detached values", { ...good, values: detached() }, TypeError, "detached"],
  ["resizable indices", { ...good, indices: resizable() }, TypeError, "16 bytes"],
  ["plain values", { ...good, values: [1, 2, 3, 4] }, TypeError, "of type Array"],
  ["missing values", { indices: good.indices, shape: [3, 2] }, TypeError, "undefined"],
  ["values of another dtype", { ...good, values: new Float64Array(4) }, TypeError, "float32"],
  ["too few values", { ...good, values: new Float32Array(3) }, RangeError, "length is 3"],
  ["a missing shape", { ...good, shape: undefined }, TypeError, "undefined"],
  ["a shape of another size", { ...good, shape: [2, 2] }, RangeError, "[2, 2]"],
  ["a shape of three sides", { ...good, shape: [3, 2, 1] }, RangeError, "[3, 2, 1]"],
  ["a shape that is not the data's", { ...good, shape: [2, 3] }, RangeError, "[2, 3] and [3, 2]"],
];

for (const [what, grad, kind, message] of faults) {
  testOnBackends(`a step refuses ${what} in a sparse gradient and changes nothing`, (backend) => {
    const first: SparseParameter = { data: new Float32Array(6), grad: good };
    const w: SparseParameter = { data: new Float32Array(6), grad: null, name: "w", shape: [3, 2] };
    const optimizer = new SGD([first, w], { lr: 1, momentum: 0.9, backend });
    w.grad = grad as SparseGrad;
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = assertThrows(() => optimizer.step(), kind);
      assertStringIncludes(error.message, message);
      assertStringIncludes(error.message, 'parameter 1 ("w")');
    }
    assert([...first.data, ...w.data].every((x) => x === 0));
    assertEquals(optimizer.state.get(first)!.momentumBuffer, null);
    w.grad = good;
    optimizer.step();
    assertEquals([...w.data], [-3, -4, -1, -2, 0, 0]);
  });
}

testOnBackends("values that overlap what a step writes are refused", (backend) => {
  const data = new Float32Array(6);
  const w: SparseParameter = { data, grad: { ...good, values: data.subarray(2) } };
  const optimizer = new SGD([w], { lr: 1, backend });
  assertThrows(() => optimizer.step(), RangeError, "overlap");
  w.grad = good;
  optimizer.step();
  assertEquals([...data], [-3, -4, -1, -2, 0, 0]);
});

Deno.test("hasSparseGrad must be true or false", () => {
  const call = () =>
    sgd([new Float32Array(1)], [null], [null], { ...OFF, lr: 1, hasSparseGrad: 1 as never });
  assertThrows(call, TypeError, "hasSparseGrad");
});
