/** Steps with `addGradients`: the sums, what is refused, and what happens to the arrays. */

import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { BFloat16Array, GradScaler, SGD } from "@descent/sgd";
import type { BackendName, HostArray, Parameter, SGDOptions, StepOptions } from "@descent/sgd";
import { cpuMissing, testOnBackends } from "../support/backends.ts";
import { digest } from "../support/golden.ts";

type Lists = readonly (readonly (HostArray | null)[])[];

type DtypeName = "float32" | "float64" | "float16" | "bfloat16";

const ZEROS: Record<DtypeName, (length: number) => HostArray> = {
  float32: (length) => new Float32Array(length),
  float64: (length) => new Float64Array(length),
  float16: (length) => new Float16Array(length),
  bfloat16: (length) => new BFloat16Array(length),
};

/** Lengths around those at which other loops begin. */
const LENGTHS = [0, 1, 63, 64, 1025, 8193];

/** One of which threads take parts. */
const LARGE = 300_001;

const SINES = Float64Array.from({ length: LARGE + 1000 }, (_, i) => Math.sin(i * 78.233) * 3);

/** Other numbers for each seed below 1000. */
function make(dtype: DtypeName, seed: number, length: number): HostArray {
  return rounded(dtype, SINES.subarray(seed, seed + length));
}

function rounded(dtype: DtypeName, values: Float32Array | Float64Array): HostArray {
  const array = ZEROS[dtype](values.length);
  if (array instanceof BFloat16Array) array.set(BFloat16Array.from(values));
  else array.set(values);
  return array;
}

function toNumbers(array: HostArray): Float32Array | Float64Array {
  if (array instanceof BFloat16Array) return array.toFloat32Array();
  return array instanceof Float16Array ? Float32Array.from(array) : array as Float32Array;
}

/** Sums in order, each rounded once to the type that is computed in, or to the stored one. */
function sumOf(arrays: readonly HostArray[], dtype: DtypeName, isEach: boolean): HostArray {
  const half = dtype === "float16" || dtype === "bfloat16";
  const type = half && !isEach ? "float32" : dtype;
  return arrays.slice(1).reduce((sum, array) => {
    const terms = toNumbers(array);
    return rounded(type, toNumbers(sum).map((value, i) => value + terms[i]));
  }, rounded(type, toNumbers(arrays[0])));
}

interface Case {
  readonly dtype: DtypeName;
  readonly options: Partial<SGDOptions>;
}

const CASES: readonly Case[] = [
  { dtype: "float32", options: {} },
  { dtype: "float32", options: { momentumBits: 8 } },
  { dtype: "float64", options: {} },
  ...(["float16", "bfloat16"] as const).flatMap((dtype) => [
    { dtype, options: {} },
    { dtype, options: { masterWeights: true } },
    { dtype, options: { rounding: "stochastic", seed: 7 } as const },
    { dtype, options: { rounding: "torch" } as const },
    { dtype, options: { momentumBits: 8 } as const },
  ]),
  { dtype: "bfloat16", options: { masterWeights: "split" } },
  { dtype: "bfloat16", options: { masterWeights: "split24", momentumBits: 8 } },
];

const RULES: readonly Partial<SGDOptions>[] = [
  { lr: 0.1 },
  { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 },
];

const STEPS: readonly StepOptions[] = [
  {},
  { gradScale: 3, maxValue: 0.5 },
  { maxNorm: 1, zeroGrad: true },
];

/** Digests of parameters and momentum, and the norms, after some steps. */
function resultsOf(
  { dtype, options }: Case,
  rule: Partial<SGDOptions>,
  backend: BackendName,
  { lengths, stepOptions, isAdded }: {
    lengths: readonly number[];
    stepOptions: StepOptions;
    isAdded: boolean;
  },
): unknown {
  const isEach = options.rounding === "torch";
  const parameters = lengths.map((length, i) => ({
    data: make(dtype, i, length),
    grad: make(dtype, 0, length),
  }));
  const optimizer = new SGD<HostArray>(parameters, { lr: 1, ...rule, ...options, backend });
  const norms: unknown[] = [];
  for (let step = 1; step < 4; step++) {
    const grads = lengths.map((n, i) =>
      [1, 2, 3].map((k) => make(dtype, 100 * step + 10 * i + k, n))
    );
    // The first list has none for every third parameter.
    const terms = grads.map(([a, b, c], i) => i % 3 === 0 ? [a, c] : [a, b, c]);
    parameters.forEach((parameter, i) => {
      parameter.grad = isAdded ? grads[i][0] : sumOf(terms[i], dtype, isEach);
    });
    const addGradients: Lists = [
      grads.map(([, b], i) => i % 3 === 0 ? null : b),
      grads.map(([, , c]) => c),
    ];
    optimizer.step(isAdded ? { ...stepOptions, addGradients } : stepOptions);
    norms.push(optimizer.lastStep!.gradNorm);
    const isZeroed = terms.flat().every((array) => toNumbers(array).every((value) => value === 0));
    if (isAdded) assertEquals(isZeroed, stepOptions.zeroGrad === true);
  }
  const momentum = [...optimizer.state.values()].map((state) => state.readMomentum());
  const arrays = [...parameters.map(({ data }) => data), ...momentum.filter((one) => one !== null)];
  return [arrays.map((one) => digest([toNumbers(one)])), norms];
}

for (const one of CASES) {
  testOnBackends(
    `sums have the bits of a step with the summed gradient: ${one.dtype}, ` +
      JSON.stringify(one.options),
    (backend) => {
      const compare = (rule: Partial<SGDOptions>, stepOptions: StepOptions, lengths: number[]) => {
        const common = { lengths, stepOptions };
        const expected = resultsOf(one, rule, backend, { ...common, isAdded: false });
        assertEquals(resultsOf(one, rule, backend, { ...common, isAdded: true }), expected);
      };
      for (const rule of RULES) {
        for (const options of STEPS) compare(rule, options, LENGTHS);
      }
      compare(RULES[1], STEPS[2], [5, LARGE]);
    },
  );
}

const array = (...values: number[]) => new Float32Array(values);

interface Pair extends Parameter {
  grad: Float32Array | null;
}

function twoOf(backend: BackendName): { a: Pair; b: Pair; optimizer: SGD<HostArray> } {
  const a: Pair = { data: array(1, 1), grad: array(1, 2), name: "a" };
  const b: Pair = { data: array(1), grad: array(4), name: "b" };
  const optimizer = new SGD<HostArray>([{ params: [a] }, { params: [b] }], { lr: 1, backend });
  return { a, b, optimizer };
}

testOnBackends("the lists are in the order of the groups, and grad stays as it is", (backend) => {
  const { a, b, optimizer } = twoOf(backend);
  const others = [[array(10, 20), null], [array(100, 200), array(400)]];
  optimizer.step({ addGradients: others });
  assertEquals([a.data, b.data], [array(-110, -221), array(-403)]);
  assertEquals([a.grad, b.grad], [array(1, 2), array(4)]);
  assertEquals(others, [[array(10, 20), null], [array(100, 200), array(400)]]);
  optimizer.step();
  assertEquals([a.data, b.data], [array(-111, -223), array(-407)]);
});

testOnBackends("no lists, or lists of nulls, add nothing", (backend) => {
  const { a, b, optimizer } = twoOf(backend);
  optimizer.step({ addGradients: [] });
  optimizer.step({ addGradients: [[null, null], [null, null]] });
  assertEquals([a.data, b.data], [array(-1, -3), array(-7)]);
});

testOnBackends("the norm, its clipping and the check see the sum", (backend) => {
  const { a, b, optimizer } = twoOf(backend);
  optimizer.step({ addGradients: [[array(-1, 1), array(0)]], maxNorm: 1 });
  assertEquals(optimizer.lastStep!.gradNorm, 5);
  const { data } = a;
  assertEquals(data[0], 1);
  const before = [data.slice(), b.data.slice()];
  optimizer.step({ addGradients: [[array(0, 0), array(NaN)]], checkFinite: true });
  assertEquals([optimizer.lastStep!.skipped, a.data, b.data], [true, ...before]);
  // Each is finite, and their sum is not.
  b.grad = array(3e38);
  const more = [[null, array(3e38)]];
  optimizer.step({ addGradients: more, checkFinite: true, zeroGrad: true });
  assertEquals([optimizer.lastStep!.skipped, a.data, b.data], [true, ...before]);
  assertEquals([a.grad, b.grad, more], [array(0, 0), array(0), [[null, array(0)]]]);
});

testOnBackends(
  "with torch's rounding the check sees sums that a float16 cannot hold",
  (backend) => {
    const w = { data: new Float16Array([1]), grad: new Float16Array([60000]) };
    const optimizer = new SGD<Float16Array>([w], { lr: 1, rounding: "torch", backend });
    optimizer.step({ addGradients: [[new Float16Array([60000])]], checkFinite: true });
    assert(optimizer.lastStep!.skipped);
  },
);

testOnBackends("a GradScaler takes them", (backend) => {
  const { a, b, optimizer } = twoOf(backend);
  const scaler = new GradScaler({ initScale: 2 });
  scaler.step(optimizer, { addGradients: [[array(3, 4), array(2)]] });
  assertEquals([a.data, b.data], [array(-1, -2), array(-2)]);
});

const detached = () => {
  const gone = array(1, 2);
  gone.buffer.transfer();
  return gone;
};

const REFUSED: readonly [(pair: ReturnType<typeof twoOf>) => unknown, ErrorConstructor, string][] =
  [
    [() => 3, TypeError, "set addGradients as it must be an array of lists: current value is 3"],
    [() => [3], TypeError, "list 0 must be an array of gradients or nulls: current value is 3"],
    [() => [[null]], RangeError, "list 0 must have 2 gradients or nulls, one for each parameter"],
    [() => [[null, null], [null, null, null]], RangeError, "list 1 must have 2 gradients or nulls"],
    [
      () => [[null, null], [new Float64Array(2), null]],
      TypeError,
      'Cannot use grad of parameter 0 ("a") in list 1 of addGradients as it must be float32, like the ' +
      "gradient",
    ],
    [
      () => [[array(1), null]],
      RangeError,
      "its length must be 2, like its data: current length is 1",
    ],
    [() => [[undefined, null]], TypeError, "as it must be float32, like the gradient"],
    [
      () => [[null, { indices: new Int32Array(0), values: array(), shape: [1, 1] }]],
      TypeError,
      "as it must be float32, like the gradient",
    ],
    [() => [[detached(), null]], TypeError, "its buffer is detached"],
    [
      () => [[new Float32Array(new ArrayBuffer(8, { maxByteLength: 16 })), null]],
      TypeError,
      "its buffer must have a fixed size",
    ],
    [({ a }) => [[a.data, null]], RangeError, "they must not share memory: they overlap"],
    [({ b }) => [[null, b.data]], RangeError, "they must not share memory: they overlap"],
  ];

testOnBackends("what cannot be added is refused before anything is written", async (backend) => {
  for (const [make, kind, text] of REFUSED) {
    const pair = twoOf(backend);
    const { a, b, optimizer } = pair;
    const options = { addGradients: make(pair) as Lists };
    assertThrows(() => optimizer.step(options), kind, text);
    await assertRejects(() => optimizer.stepAsync(options), kind, text);
    assertEquals([a.data, b.data, optimizer.lastStep], [array(1, 1), array(1), null]);
    optimizer.step();
    assertEquals([a.data, b.data], [array(0, -1), array(-3)]);
  }
});

testOnBackends("a parameter without gradient has nothing that it could be added to", (backend) => {
  const { a, b, optimizer } = twoOf(backend);
  b.grad = null;
  const text =
    'the parameter must have a gradient that it is added to: grad of parameter 1 ("b") ' +
    "is null";
  assertThrows(() => optimizer.step({ addGradients: [[null, array(1)]] }), TypeError, text);
  optimizer.step({ addGradients: [[array(1, 1), null]] });
  assertEquals([a.data, b.data], [array(-1, -2), array(1)]);
});

testOnBackends("sparse gradients and differentiable groups are refused", (backend) => {
  const shape = [1, 2] as const;
  const matrix = {
    data: array(1, 1),
    grad: { indices: new Int32Array([0]), values: array(1, 1), shape },
  };
  const sparse = new SGD([matrix], { lr: 1, backend });
  assertThrows(
    () => sparse.step({ addGradients: [[null]] }),
    TypeError,
    "Cannot step with addGradients as grad of parameter 0 must be an array: it is sparse",
  );
  const w = { data: array(1), grad: array(1) };
  const differentiable = new SGD([w], { lr: 1, differentiable: true, backend });
  assertThrows(
    () => differentiable.step({ addGradients: [[array(1)]] }),
    TypeError,
    "Cannot step with addGradients as no group may be differentiable",
  );
});

testOnBackends("gradients may be shared, unless they are to be zeroed", (backend) => {
  const { a, optimizer } = twoOf(backend);
  optimizer.step({ addGradients: [[a.grad, null], [a.grad, null]] });
  assertEquals(a.data, array(-2, -5));
  for (const other of [a.grad!, array(1, 1)]) {
    const addGradients = other === a.grad ? [[other, null]] : [[other, null], [other, null]];
    assertThrows(
      () => optimizer.step({ addGradients, zeroGrad: true }),
      RangeError,
      "they must not share memory: they overlap",
    );
  }
  assertEquals(a.data, array(-2, -5));
});

testOnBackends("an array whose getter detaches another one is found", (backend) => {
  const { a, b, optimizer } = twoOf(backend);
  const first = array(1, 2);
  const second = array(1);
  Object.defineProperty(second, "length", {
    get() {
      first.buffer.transfer();
      return 1;
    },
  });
  assertThrows(
    () => optimizer.step({ addGradients: [[first, second]] }),
    TypeError,
    'grad of parameter 0 ("a") in list 0 of addGradients was detached or resized',
  );
  assertEquals([a.data, b.data], [array(1, 1), array(1)]);
});

testOnBackends("lists that change while the step is prepared have no effect", (backend) => {
  const { a, optimizer } = twoOf(backend);
  const list: (Float32Array | null)[] = [array(1, 1), null];
  optimizer.step(() => list[0] = detached(), { addGradients: [list] });
  assertEquals(a.data, array(-1, -2));
});

async function trained(backend: BackendName, isAsync: boolean): Promise<unknown> {
  const lengths = [LARGE, 5];
  const parameters = lengths.map((length, i) => ({
    data: make("bfloat16", i, length),
    grad: make("bfloat16", 10 + i, length),
  }));
  const optimizer = new SGD<HostArray>(parameters, { lr: 0.1, momentum: 0.9, backend });
  for (let step = 0; step < 3; step++) {
    const addGradients = [1, 2, 3].map((k) =>
      lengths.map((length) => make("bfloat16", 100 * k + step, length))
    );
    const options = { addGradients, maxNorm: 2, gradScale: 4 };
    if (isAsync) await optimizer.stepAsync(options);
    else optimizer.step(options);
  }
  return [parameters.map(({ data }) => digest([toNumbers(data)])), optimizer.lastStep];
}

const skipsCpu = { ignore: cpuMissing !== null };

for (const backend of ["js", "cpu"] as const) {
  const reason = backend === "cpu" && cpuMissing !== null ? ` (skipped: ${cpuMissing})` : "";
  const ignore = backend === "cpu" && skipsCpu.ignore;
  Deno.test({
    name: `${backend}: stepAsync has the bits of step${reason}`,
    ignore,
    fn: async () => {
      assertEquals(await trained(backend, true), await trained(backend, false));
    },
  });
}

const onCpu = (name: string, fn: () => Promise<void>) =>
  Deno.test({
    name: cpuMissing === null ? name : `${name} (skipped: ${cpuMissing})`,
    ...skipsCpu,
    fn,
  });

onCpu("while a step runs, the added gradients are locked", async () => {
  const w = { data: new Float32Array(1e6), grad: new Float32Array(1e6) };
  const optimizer = new SGD([w], { lr: 1, backend: "cpu" });
  const other = new Float32Array(1e6).fill(1);
  const step = optimizer.stepAsync({ addGradients: [[other]], zeroGrad: true });
  const second = new SGD([{ data: new Float32Array(1e6), grad: other }], { lr: 1, backend: "cpu" });
  assertThrows(() => second.step(), Error, "a step that is running uses its memory");
  const third = new SGD([{ data: new Float32Array(1e6), grad: new Float32Array(1e6) }], { lr: 1 });
  assertThrows(
    () => third.step({ addGradients: [[other]] }),
    Error,
    "Cannot use grad of parameter 0 in list 0 of addGradients as a step that is running uses its " +
      "memory",
  );
  await step;
  assertStrictEquals(w.data[5], -1);
  assertEquals(other[5], 0);
  second.step();
});

onCpu(
  "an added gradient that is transferred while a step runs stays alive until then",
  async () => {
    const w = { data: new Float32Array(3e6), grad: new Float32Array(3e6) };
    const optimizer = new SGD([w], { lr: 1, backend: "cpu" });
    const others = Array.from({ length: 70 }, () => new Float32Array(3e6).fill(1));
    const step = optimizer.stepAsync({ addGradients: others.map((other) => [other]) });
    for (const other of others) structuredClone(other, { transfer: [other.buffer] });
    await assertRejects(() => step, Error, "was detached or resized while it ran");
    assertStrictEquals(w.data[2_999_999], -70);
  },
);
