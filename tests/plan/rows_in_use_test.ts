/** Sparse steps with momentum leave out the rows that never had a gradient, and nothing else changes. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { SGD, sgd } from "@descent/sgd";
import type {
  BackendName,
  FloatArray,
  GroupOptions,
  SparseGrad,
  SparseParameter,
} from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { digest, generate } from "../support/golden.ts";
import type { DtypeName } from "../support/golden.ts";

const DEFAULTS = { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false };

/** A gradient of a number of rows, all of which are below `limit`. */
function gradOf(
  dtype: DtypeName,
  seed: number,
  [rows, columns]: readonly [number, number],
  count: number,
  limit = rows,
): SparseGrad {
  const picks = generate("float64", "ordinary", [seed, 2, 0], count);
  const indices = Int32Array.from(
    picks,
    (x) => Math.floor(Math.abs(x) * 1e6) % Math.min(rows, limit),
  );
  const values = generate(dtype, "ordinary", [seed, 3, 0], count * columns);
  return { indices, values, shape: [rows, columns] };
}

type State = { momentumBuffer: FloatArray | null };

const stateOf = (optimizer: SGD, w: SparseParameter) => optimizer.state.get(w) as State;

const bufferOf = (optimizer: SGD, w: SparseParameter) => stateOf(optimizer, w).momentumBuffer;

/** What a step of one optimizer is: its gradient's entries, or null, and what has changed before it. */
interface Step {
  readonly count: number | null;
  readonly limit?: number;
  readonly momentum?: number;
  readonly replaced?: boolean;
}

const SEQUENCE: readonly Step[] = [
  { count: 3 },
  { count: 0 },
  { count: 40, limit: 20 },
  { count: null },
  { count: 5, replaced: true },
  { count: 12, momentum: 0 },
  { count: null, momentum: 0 },
  { count: 9, momentum: 0.5 },
  { count: 1, limit: 1 },
  { count: 300 },
  { count: 900 },
  { count: 2 },
];

const OPTIONS: readonly (GroupOptions & { momentum: number })[] = [
  { momentum: 0.9 },
  { momentum: 0.9, nesterov: true },
  { momentum: 0.5, dampening: 0.25, maximize: true },
  { momentum: 0.9, dampening: 1.5 },
  { momentum: 0.9, sign: true },
  { momentum: 0.9, nesterov: true, maximize: true, sign: true },
];

const SHAPES = [[1, 3], [33, 17], [70, 130], [700, 1]] as const;

/** Takes the steps of `SEQUENCE` with an optimizer, and beside it with `sgd`, which steps every row. */
async function compare(
  backend: BackendName,
  dtype: DtypeName,
  shape: readonly [number, number],
  options: GroupOptions & { momentum: number },
  take: (optimizer: SGD) => unknown,
): Promise<void> {
  const start = generate(dtype, "ordinary", [1, 0, 0], shape[0] * shape[1]);
  const w: SparseParameter = { data: start.slice(), grad: null };
  const optimizer = new SGD([w], { lr: 0.1, ...options, backend });
  const every = start.slice();
  const buffers: (FloatArray | null)[] = [null];
  for (const [n, { count, limit, momentum = options.momentum, replaced }] of SEQUENCE.entries()) {
    const nesterov = momentum !== 0 && (options.nesterov ?? false);
    Object.assign(optimizer.paramGroups[0], { momentum, nesterov });
    w.grad = count === null ? null : gradOf(dtype, n + 1, shape, count, limit);
    if (replaced) w.data = w.data.slice();
    const grads = [w.grad];
    await take(optimizer);
    sgd([every], grads, buffers, { ...DEFAULTS, ...options, momentum, nesterov, lr: 0.1, backend });
    const context = `${dtype}, ${shape}, step ${n}, ${JSON.stringify(options)}`;
    assertEquals(digest([w.data]), digest([every]), context);
    assertEquals(digest([bufferOf(optimizer, w)!]), digest([buffers[0]!]), context);
  }
}

for (const way of ["step", "stepAsync"] as const) {
  testOnBackends(`${way} has the bits of steps of every row`, async (backend) => {
    for (const dtype of ["float32", "float64"] as const) {
      for (const shape of SHAPES) {
        for (const options of OPTIONS) {
          await compare(backend, dtype, shape, options, (optimizer) => optimizer[way]());
        }
      }
    }
  });
}

/** Bits that a computation changes: a NaN that is not quiet, and one that carries a number. */
const LOUD = 0x7f800001;

/** Fills rows that are not in use with NaN, in the parameter and in its buffer. */
function poison(arrays: readonly FloatArray[], columns: number, isUsed: (row: number) => boolean) {
  for (const array of arrays) {
    const words = new Uint32Array(array.buffer, array.byteOffset, array.length);
    words.forEach((_, i) => {
      if (!isUsed(Math.floor(i / columns))) words[i] = LOUD + i;
    });
  }
}

/** The words of the rows that are not in use. */
function unusedOf(array: FloatArray, columns: number, isUsed: (row: number) => boolean) {
  return new Uint32Array(array.buffer, array.byteOffset, array.length)
    .filter((_, i) => !isUsed(Math.floor(i / columns)));
}

testOnBackends("rows that never had a gradient are neither read nor written", async (backend) => {
  for (const options of [{ momentum: 0.9 }, { momentum: 0.9, nesterov: true, sign: true }]) {
    const shape = [900, 70] as const; // large enough to be shared among threads
    const used = new Set<number>();
    const w: SparseParameter = { data: new Float32Array(900 * 70), grad: null };
    const optimizer = new SGD([w], { lr: 0.1, ...options, backend });
    for (const [n, count] of [30, 200, 0, 5].entries()) {
      const grad = gradOf("float32", n, shape, count);
      for (const row of grad.indices) used.add(Number(row));
      w.grad = grad;
      if (n > 0) {
        const arrays = [w.data, bufferOf(optimizer, w)!];
        const isUsed = (row: number) => used.has(row);
        poison(arrays, 70, isUsed);
        const before = arrays.map((array) => unusedOf(array, 70, isUsed));
        await (n % 2 === 0 ? optimizer.step() : optimizer.stepAsync());
        assertEquals(arrays.map((array) => unusedOf(array, 70, isUsed)), before);
        const isNumber = arrays.every((array) =>
          array.every((x, i) => !isUsed(Math.floor(i / 70)) || !Number.isNaN(x))
        );
        assert(isNumber, `step ${n} has read a row that is not in use`);
        for (const array of arrays) array.forEach((x, i) => Number.isNaN(x) && (array[i] = 0));
      } else optimizer.step();
    }
  }
});

/** Two steps that name row 0, with a change between them; then the buffer that a third step finds. */
function stepAround(backend: BackendName, change: (w: SparseParameter, optimizer: SGD) => void) {
  const w: SparseParameter = { data: new Float32Array(6), grad: null };
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend });
  const grad = { indices: new Int32Array([0]), values: new Float32Array(2).fill(1) };
  w.grad = { ...grad, shape: [3, 2] };
  optimizer.step();
  change(w, optimizer);
  optimizer.step();
  return { w, optimizer };
}

testOnBackends("every row of a momentum buffer that is assigned is in use", (backend) => {
  const { w, optimizer } = stepAround(backend, (w, optimizer) => {
    stateOf(optimizer, w).momentumBuffer = new Float32Array([2, 2, 4, 4, 8, 8]);
  });
  assertEquals([...bufferOf(optimizer, w)!], [2, 2, 2, 2, 4, 4]);
  assertEquals([...w.data], [-3, -3, -2, -2, -4, -4]);
});

testOnBackends("a buffer that is taken away begins anew, with no row in use", (backend) => {
  const { w, optimizer } = stepAround(backend, (w, optimizer) => {
    stateOf(optimizer, w).momentumBuffer = null;
    w.grad = {
      indices: new Int32Array([2]),
      values: new Float32Array([1, 1]),
      shape: [3, 2],
    };
  });
  assertEquals([...bufferOf(optimizer, w)!], [0, 0, 0, 0, 1, 1]);
  poison([bufferOf(optimizer, w)!], 2, (row) => row === 2);
  optimizer.step();
  assertEquals([...w.data], [-1, -1, 0, 0, -2.5, -2.5]);
});

testOnBackends("a gradient with rows of another length steps every row", (backend) => {
  const { w, optimizer } = stepAround(backend, (w) => {
    w.grad = { indices: new Int32Array([1]), values: new Float32Array([1, 1, 1]), shape: [2, 3] };
  });
  assertEquals([...bufferOf(optimizer, w)!], [0.5, 0.5, 0, 1, 1, 1]);
  assertEquals([...w.data], [-1.5, -1.5, 0, -1, -1, -1]);
});

testOnBackends("rows that only a failed step has named are not in use", (backend) => {
  const w: SparseParameter = { data: new Float32Array(4), grad: null };
  const other = { data: new Float32Array(1), grad: new Float64Array(1) };
  const optimizer = new SGD([w, other], { lr: 1, momentum: 0.5, backend });
  const values = new Float32Array([1, 1]);
  w.grad = { indices: new Int32Array([0]), values, shape: [2, 2] };
  assertThrows(() => optimizer.step(), TypeError, "parameter 1");
  other.grad = new Float32Array(1) as never;
  w.grad = { indices: new Int32Array([1]), values, shape: [2, 2] };
  optimizer.step();
  poison([bufferOf(optimizer, w)!], 2, (row) => row === 1);
  optimizer.step();
  assertEquals([...w.data], [0, 0, -2.5, -2.5]);
});

testOnBackends("every row of a buffer that began with a dense gradient is stepped", (backend) => {
  const w: SparseParameter = { data: new Float32Array(4), grad: new Float32Array([1, 2, 3, 4]) };
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend });
  optimizer.step();
  w.grad = { indices: new Int32Array([1]), values: new Float32Array([1, 1]), shape: [2, 2] };
  optimizer.step();
  assertEquals([...bufferOf(optimizer, w)!], [0.5, 1, 2.5, 3]);
  assertEquals([...w.data], [-1.5, -3, -5.5, -7]);
});

testOnBackends("parameters that are added keep rows in use apart", (backend) => {
  const make = (row: number): SparseParameter => ({
    data: new Float32Array(4),
    grad: { indices: new Int32Array([row]), values: new Float32Array([1, 1]), shape: [2, 2] },
  });
  const [a, b] = [make(0), make(1)];
  const optimizer = new SGD([a], { lr: 1, momentum: 0.5, backend });
  optimizer.step();
  optimizer.addParamGroup({ params: [b] });
  optimizer.step();
  poison([bufferOf(optimizer, a)!], 2, (row) => row === 0);
  poison([bufferOf(optimizer, b)!], 2, (row) => row === 1);
  optimizer.step();
  assertEquals([...a.data], [-4.25, -4.25, 0, 0]);
  assertEquals([...b.data], [0, 0, -2.5, -2.5]);
});
