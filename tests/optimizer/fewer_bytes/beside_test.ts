/** What momentum in 8 bits, split master weights and float32 gradients leave as it is. */

import { assert, assertEquals } from "@std/assert";
import { BFloat16Array, clipGradNorm, SGD } from "@descent/sgd";
import type { BackendName, HostArray, Parameter, SGDOptions, SparseParameter } from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";
import { changeGrads, createParams, noise } from "./twin.ts";
import type { Kind } from "./twin.ts";

const BASE: SGDOptions = { lr: 0.01, momentum: 0.9, weightDecay: 0.001, nesterov: true, seed: 7 };

const create: Readonly<Record<"float32" | "float64", () => Parameter<HostArray>[]>> = {
  float32: () => createParams("float32"),
  float64: () =>
    createParams("float32").map(({ data, grad }) => {
      return { data: Float64Array.from(data), grad: Float64Array.from(grad!) };
    }),
};

/** What some steps make of parameters, and of their momentum. */
function run(params: Parameter<HostArray>[], options: SGDOptions) {
  const optimizer = new SGD<HostArray>(params, options);
  for (let i = 0; i < 3; i++) {
    changeGrads(params, i);
    optimizer.step();
  }
  const states = params.map((w) => optimizer.state.get(w)!);
  assert(states.every(({ masterWeight, correction }) => (masterWeight ?? correction) === null));
  return [params.map(({ data }) => data), states.map(({ momentumBuffer }) => momentumBuffer)];
}

for (const dtype of ["float32", "float64"] as const) {
  for (const masterWeights of ["split", "split24", true] as const) {
    testOnBackends(`masterWeights ${masterWeights} has no effect on ${dtype}`, (backend) => {
      const options = { ...BASE, backend };
      const expected = run(create[dtype](), options);
      assertEquals(run(create[dtype](), { ...options, masterWeights }), expected);
    });
  }
}

/** A matrix of 16 columns whose gradient has three rows, and its steps. */
function stepSparse(rows: number, options: SGDOptions) {
  const w: SparseParameter = { data: noise(rows * 16, 1), grad: null, shape: [rows, 16] };
  const optimizer = new SGD([w], { ...options, weightDecay: 0 });
  for (let i = 0; i < 3; i++) {
    const indices = Int32Array.of(i, 5, rows - 1);
    w.grad = { indices, values: noise(3 * 16, i), shape: [rows, 16] };
    optimizer.step();
  }
  const { momentumBuffer, momentum8, correction } = optimizer.state.get(w)!;
  assertEquals([momentum8, correction], [null, null]);
  return [w.data, momentumBuffer];
}

testOnBackends("sparse gradients of float32 step with split master weights", (backend) => {
  const options = { ...BASE, backend };
  const expected = stepSparse(300, options);
  for (const masterWeights of ["split", "split24"] as const) {
    assertEquals(stepSparse(300, { ...options, masterWeights }), expected);
  }
});

testOnBackends("small matrices with sparse gradients step with momentumBits 8", (backend) => {
  const options = { ...BASE, backend };
  assertEquals(stepSparse(255, { ...options, momentumBits: 8 }), stepSparse(255, options));
});

testOnBackends("a differentiable step of float32 goes with split master weights", (backend) => {
  const w: Parameter = { data: noise(9, 1), grad: noise(9, 2) };
  const options = { ...BASE, backend, differentiable: true, masterWeights: "split" } as const;
  const optimizer = new SGD([w], options);
  optimizer.step();
  const { params } = optimizer.backward(new Map([[w, new Float32Array(9).fill(1)]]));
  assertEquals(params.get(w)!.length, 9);
});

const KINDS: readonly Kind[] = ["float16+", "bfloat16+"];

testOnBackends("clipGradNorm clips float32 gradients of 16-bit parameters", (backend) => {
  for (const kind of KINDS) {
    const params = createParams(kind);
    const alone = params.map(({ grad }) => (grad as Float32Array).slice());
    const before = params.map(({ data }) => data.slice());
    const norm = clipGradNorm(params, 0.5, { backend });
    assertEquals(norm, clipGradNorm(alone, 0.5, { backend }));
    assert(norm > 0.5);
    assertEquals(params.map(({ grad }) => grad), alone);
    assertEquals(params.map(({ data }) => data), before);
  }
});

testOnBackends("clipGradNorm before a step is the clipping of the step", (backend: BackendName) => {
  for (const kind of KINDS) {
    const [before, within] = [createParams(kind), createParams(kind)];
    const options = { lr: 0.01, backend };
    clipGradNorm(before, 0.5, { backend });
    new SGD<HostArray>(before, options).step();
    new SGD<HostArray>(within, options).step({ maxNorm: 0.5 });
    assertEquals(before.map(({ data }) => data), within.map(({ data }) => data));
    assert(within.every(({ data }) => data instanceof BFloat16Array === (kind === "bfloat16+")));
  }
});
