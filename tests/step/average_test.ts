/** Averages of weights: updates apart and in steps, swapping, and what is refused. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BFloat16Array, GradScaler, SGD, WeightAverage } from "@descent/sgd";
import type {
  BackendName,
  FloatArray,
  HostArray,
  SGDOptions,
  SparseGrad,
  StepOptions,
} from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { generate } from "../support/golden.ts";

/** Lengths within a vector, within a tile, and over several pieces. */
const SIZES = [1, 7, 70, 5000, 20_001];

type Make = (values: Float32Array) => HostArray;

const MAKE: Record<string, Make> = {
  float32: (values) => values.slice(),
  float64: (values) => Float64Array.from(values),
  float16: (values) => Float16Array.from(values),
  bfloat16: (values) => BFloat16Array.from(values),
};

function parametersOf(make: Make, seed: number) {
  return SIZES.map((size, i) => ({
    data: make(valuesOf(seed, i, 0, size)),
    grad: make(valuesOf(seed, i, 1, size)) as HostArray | null,
  }));
}

function valuesOf(seed: number, tensor: number, step: number, size: number): Float32Array {
  return generate("float32", "ordinary", [seed, tensor, step], size) as Float32Array;
}

function averagesOf(average: WeightAverage): HostArray[] {
  return Object.values(average.stateDict().averages).map(({ data }) => data);
}

function masterSteps(backend: BackendName, make: Make, options: Partial<SGDOptions>) {
  const parameters = parametersOf(make, 5);
  return {
    parameters,
    optimizer: new SGD<HostArray>(parameters, { lr: 0.01, momentum: 0.9, backend, ...options }),
  };
}

const FORMS: readonly (readonly [string, Partial<SGDOptions>])[] = [
  ["float32", {}],
  ["float64", {}],
  ["float32", { momentumBits: 8 }],
  ...["float16", "bfloat16"].flatMap((dtype) => [
    [dtype, {}] as const,
    [dtype, { rounding: "torch" }] as const,
    [dtype, { rounding: "stochastic", seed: 3 }] as const,
    [dtype, { masterWeights: true }] as const,
    [dtype, { masterWeights: true, rounding: "stochastic" }] as const,
  ]),
  ["bfloat16", { masterWeights: "split" }],
  ["bfloat16", { masterWeights: "split24", momentumBits: 8 }],
];

const REQUESTS: readonly StepOptions[] = [
  {},
  { gradScale: 2, maxNorm: 1, zeroGrad: true },
  { maxValue: 0.5 },
];

testOnBackends("a step that averages does what a step and an update do", (backend) => {
  for (const [dtype, options] of FORMS) {
    for (const request of REQUESTS) {
      for (const decay of [0.9, 0.25, "mean"] as const) {
        const [one, two] = [0, 1].map(() => masterSteps(backend, MAKE[dtype], options));
        const [inside, apart] = [one, two].map(({ parameters }) =>
          new WeightAverage(parameters, { decay, backend })
        );
        for (let i = 0; i < 4; i++) {
          for (const { parameters } of [one, two]) {
            parameters.forEach((parameter, j) => {
              const fresh = MAKE[dtype](valuesOf(9, j, i + 1, SIZES[j]));
              parameter.grad = i === 2 && j % 2 === 0 ? null : fresh;
            });
          }
          one.optimizer.step({ ...request, average: inside });
          two.optimizer.step(request);
          apart.update();
        }
        const name = JSON.stringify({ dtype, options, request, decay });
        assertEquals(one.parameters, two.parameters, name);
        assertEquals(averagesOf(inside), averagesOf(apart), name);
        assertEquals(inside.count, 4);
      }
    }
  }
});

Deno.test("cpu and js average alike", () => {
  for (const [dtype, options] of FORMS.filter(([dtype]) => dtype !== "float64")) {
    const results = (["cpu", "js"] as const).map((backend) => {
      const { parameters, optimizer } = masterSteps(backend, MAKE[dtype], options);
      const average = new WeightAverage(parameters, { decay: 0.7, backend });
      for (let i = 0; i < 3; i++) optimizer.step({ average });
      return averagesOf(average);
    });
    assertEquals(results[0], results[1], JSON.stringify({ dtype, options }));
  }
});

testOnBackends("averages of 16-bit parameters are made of their master weights", (backend) => {
  for (const masterWeights of [true, "split"] as const) {
    const { parameters, optimizer } = masterSteps(backend, MAKE.bfloat16, { masterWeights });
    const average = new WeightAverage(parameters, { decay: 0, backend });
    optimizer.step({ average });
    const masters = parameters.map((parameter) =>
      optimizer.state.get(parameter as never)!.readMasterWeight()
    );
    assertEquals(averagesOf(average), masters as HostArray[]);
    assert(masters[3]!.some((master, i) => {
      return master !== (parameters[3].data as BFloat16Array).toFloat32Array()[i];
    }));
  }
});

testOnBackends("gradients that are added up are averaged in the same step", (backend) => {
  const results = [true, false].map((inside) => {
    const { parameters, optimizer } = masterSteps(backend, MAKE.float32, {});
    const average = new WeightAverage(parameters, { decay: 0.5, backend });
    const addGradients = [parameters.map(({ grad }) => grad!.slice() as FloatArray)];
    for (let i = 0; i < 3; i++) {
      optimizer.step(inside ? { addGradients, average } : { addGradients });
      if (!inside) average.update();
    }
    return averagesOf(average);
  });
  assertEquals(results[0], results[1]);
});

testOnBackends("a step with foreach false averages each parameter once", (backend) => {
  const results = [true, false].map((foreach) => {
    const { parameters, optimizer } = masterSteps(backend, MAKE.float32, { foreach });
    parameters[1].grad = null;
    const average = new WeightAverage(parameters, { decay: 0.5, backend });
    for (let i = 0; i < 3; i++) optimizer.step({ average });
    return averagesOf(average);
  });
  assertEquals(results[0], results[1]);
});

testOnBackends("a sparse gradient averages the whole matrix", (backend) => {
  const w = {
    data: new Float32Array([1, 2, 3, 4]),
    grad: {
      indices: new Int32Array([1]),
      values: new Float32Array([1, 1]),
      shape: [2, 2] as const,
    },
  };
  const optimizer = new SGD([w], { lr: 1, backend });
  const average = new WeightAverage([w], { decay: 0.5, backend });
  optimizer.step({ average });
  assertEquals(averagesOf(average), [new Float32Array([1, 2, 2, 3])]);
  w.data[0] = 3;
  optimizer.step({ average });
  assertEquals(averagesOf(average), [new Float32Array([2, 2, 1.5, 2.5])]);
});

testOnBackends("parameters of no optimizer and of no gradient are averaged too", (backend) => {
  const w = { data: new Float32Array([1]), grad: new Float32Array([1]) };
  const [frozen, other] = [5, 6].map((value) => ({ data: new Float32Array([value]), grad: null }));
  const optimizer = new SGD([w, frozen], { lr: 1, backend });
  const average = new WeightAverage([other, w, frozen], { decay: "mean", backend });
  optimizer.step({ average });
  frozen.data[0] = 7;
  other.data[0] = 9;
  optimizer.step({ average });
  assertEquals(averagesOf(average).map(([value]) => value), [7.5, -0.5, 6]);
});

testOnBackends("a skipped step does not average", (backend) => {
  const w = { data: new Float32Array([1]), grad: new Float32Array([1]) };
  const optimizer = new SGD([w], { lr: 0.5, backend });
  const average = new WeightAverage([w], { decay: 0.5, backend });
  const scaler = new GradScaler({ initScale: 2 });
  w.grad[0] = Infinity;
  assert(scaler.step(optimizer, { average }).skipped);
  scaler.update();
  assertEquals([average.count, averagesOf(average)[0][0]], [0, 1]);
  w.grad[0] = 1;
  assert(!scaler.step(optimizer, { average, maxNorm: 10 }).skipped);
  assertEquals([average.count, averagesOf(average)[0][0]], [1, 0.5]);
});

for (const backend of ["cpu", "js"] as const) {
  Deno.test(`${backend}: an asynchronous step averages, and keeps others off meanwhile`, async () => {
    const results = [];
    for (const isAsync of [true, false]) {
      const { parameters, optimizer } = masterSteps(backend, MAKE.float32, {});
      parameters[4].grad = null;
      const other = { data: new Float32Array([3]), grad: null };
      const average = new WeightAverage([...parameters, other], { decay: 0.75, backend });
      for (let i = 0; i < 3; i++) {
        if (!isAsync) {
          optimizer.step({ average, maxNorm: 1 });
          continue;
        }
        const running = optimizer.stepAsync({ average, maxNorm: 1 });
        for (const use of ["update", "swap", "stateDict", "applied"] as const) {
          assertThrows(() => average[use](), Error, "a step that is running uses it");
        }
        const second = new SGD([other], { lr: 1, backend });
        assertThrows(() => second.step({ average }), Error, "a step that is running uses it");
        await running;
      }
      average.swap();
      average.swap();
      results.push(averagesOf(average));
    }
    assertEquals(results[0], results[1]);
  });
}

Deno.test("cpu: a parameter that rests is locked while an asynchronous step averages it", async () => {
  const w = { data: new Float32Array(1000), grad: new Float32Array(1000) };
  const resting = { data: new Float32Array([1]), grad: null };
  const average = new WeightAverage([w, resting], { decay: 0.75, backend: "cpu" });
  const other = new WeightAverage([resting], { decay: 0.75, backend: "cpu" });
  const running = new SGD([w, resting], { lr: 1, backend: "cpu" }).stepAsync({ average });
  assertThrows(() => other.swap(), Error, "a step that is running uses its memory");
  await running;
  other.swap();
});

Deno.test("cpu: an asynchronous step whose memory is taken away rejects when all has been averaged", async () => {
  const w = { data: new Float32Array(100_000), grad: new Float32Array(100_000) };
  const resting = { data: new Float32Array(1000), grad: null };
  const average = new WeightAverage([w, resting], { decay: 0.75, backend: "cpu" });
  const running = new SGD([w, resting], { lr: 1, backend: "cpu" }).stepAsync({ average });
  structuredClone(resting.data, { transfer: [resting.data.buffer] });
  await assertRejects(() => running, Error, "data of parameter 1");
  assertEquals([average.count, averagesOf(average)[1]], [1, new Float32Array(1000)]);
});

for (const backend of ["cpu", "js"] as const) {
  Deno.test(`${backend}: an asynchronous step averages all forms as a step does`, async () => {
    for (const [dtype, options] of FORMS) {
      const results = [];
      for (const isAsync of [true, false]) {
        const { parameters, optimizer } = masterSteps(backend, MAKE[dtype], options);
        const average = new WeightAverage(parameters, { decay: 0.75, backend });
        for (let i = 0; i < 3; i++) {
          if (i === 1) parameters[3].grad = null; // it rests, with a master weight if there are any
          if (isAsync) await optimizer.stepAsync({ average });
          else optimizer.step({ average });
        }
        results.push([averagesOf(average), parameters]);
      }
      assertEquals(results[0], results[1], JSON.stringify({ dtype, options }));
    }
  });

  Deno.test(`${backend}: an asynchronous step averages the whole of a matrix with a sparse gradient`, async () => {
    const w = {
      data: new Float32Array([1, 2, 3, 4]),
      grad: {
        indices: new Int32Array([1]),
        values: new Float32Array([1, 1]),
        shape: [2, 2] as const,
      },
    };
    const optimizer = new SGD([w], { lr: 1, backend });
    const average = new WeightAverage([w], { decay: 0.5, backend });
    await optimizer.stepAsync({ average });
    w.data[0] = 3;
    await optimizer.stepAsync({ average });
    assertEquals(averagesOf(average), [new Float32Array([2, 2, 1.5, 2.5])]);
  });
}

testOnBackends("recorded steps average too", (backend) => {
  const w = { data: new Float64Array([1]), grad: new Float64Array([1]) };
  const optimizer = new SGD([w], { lr: 0.5, differentiable: true, backend });
  const average = new WeightAverage([w], { decay: "mean", backend });
  for (let i = 0; i < 2; i++) optimizer.step({ average });
  assertEquals([averagesOf(average)[0][0], optimizer.recordedSteps], [0.25, 2]);
});

testOnBackends(
  "getters and setters of parameters cannot change an average that is in use",
  (backend) => {
    for (const change of ["update", "swap", "applied", "stateDict"] as const) {
      let [run, data, grad] = [
        null as (() => unknown) | null,
        Float32Array.of(4),
        Float32Array.of(1),
      ];
      const call = () => {
        const now = run;
        run = null;
        now?.();
      };
      const hostile = {
        get data() {
          call();
          return data;
        },
        set data(other) {
          data = other;
        },
        grad,
      };
      const sparse = (): SparseGrad => {
        return { indices: new Uint32Array(1), values: new Float32Array(1), shape: [1, 1] };
      };
      const setter = {
        ...{ data: new Float32Array(1), shape: [1, 1] },
        get grad() {
          return sparse();
        },
        set grad(_: SparseGrad) {
          call();
        },
      };
      const w = { data: Float32Array.of(2), grad: Float32Array.of(1) };
      const optimizer = new SGD([w, setter], { lr: 1, backend });
      const average = new WeightAverage([w, hostile, setter], { decay: 0.5, backend });
      average.update();
      const values = () => averagesOf(average).map(([value]) => value);
      const uses: [() => unknown, string][] = [
        [() => average.update(), "it is reading its parameters"],
        [() => average.swap(), "it is reading its parameters"],
        [() => optimizer.step({ average }), "it is reading its parameters"],
      ];
      for (const [use, text] of uses) {
        run = () => average[change]();
        assertThrows(use, Error, text);
        assertEquals([average.count, average.isSwapped, values()], [1, false, [2, 4, 0]]);
      }
      const step = () => {
        run = () => average[change]();
        optimizer.step({ average, zeroGrad: true });
      };
      Object.defineProperty(hostile, "data", { value: data });
      assertThrows(step, Error, "a step that is running uses it");
      assertEquals([average.count, average.isSwapped, values()], [1, false, [2, 4, 0]]);
      optimizer.step({ average });
      assertEquals([average.count, values()], [2, [1.5, 4, 0]]);
    }
  },
);
