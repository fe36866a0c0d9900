/**
 * Every golden float32 trajectory on the GPU, against torch's numbers.
 *
 * WGSL does not promise that `fma` rounds once, nor that subnormals are kept. Where the adapter
 * rounds twice, an element may be off by `BOUND` units in the last place of the largest value that
 * went into its sums, or of the smallest normal number. Each test prints how many elements have
 * torch's very bits.
 */

import { assert, assertEquals } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { Parameter } from "@descent/sgd";
import type { Gpu, GpuTensor } from "@descent/sgd/gpu";
import { fromHex, input, samples, trajectories } from "../support/golden.ts";
import type { Result, Trajectory } from "../support/golden.ts";
import { gpuTest, TINY } from "./gpu.ts";

/** The worst on Mesa's llvmpipe is 5.9, after ten steps whose sums cancel. */
const BOUND = 8;

/** Which elements of a tensor a trajectory's results show. */
function shown(t: Trajectory, tensor: number, array: Float32Array): Float32Array {
  return typeof t.results[tensor].data === "string" ? array : samples(array) as Float32Array;
}

/** A trajectory on the way, and for each shown element the largest finite magnitude so far. */
class Run {
  readonly params: Parameter<GpuTensor>[];
  readonly optimizer: SGD<GpuTensor>;
  readonly scale: Float32Array[];

  constructor(readonly gpu: Gpu, readonly t: Trajectory) {
    const data = t.tensors.map((_, i) => input(t, i, 0) as Float32Array);
    this.params = data.map((array) => ({ data: gpu.tensor(array), grad: null }));
    this.scale = data.map((array, i) => new Float32Array(shown(t, i, array).length));
    data.forEach((array, i) => this.#include(i, array));
    this.optimizer = new SGD(this.#groups(1), { lr: 1 });
  }

  step(n: number): void {
    const { t, gpu, optimizer } = this;
    if (n > 1) { for (const group of this.#groups(n)) optimizer.addParamGroup(group); }
    for (const { before, group, options } of t.changes ?? []) {
      if (before === n) Object.assign(optimizer.paramGroups[group], options);
    }
    this.params.forEach((param, i) => {
      param.grad?.[Symbol.dispose]();
      const grad = input(t, i, n) as Float32Array | null;
      param.grad = grad && gpu.tensor(grad);
      this.#include(i, grad);
    });
    optimizer.step();
    this.params.forEach(({ data }, i) => {
      this.#include(i, data.readSync());
      this.#include(i, this.buffer(i));
    });
  }

  buffer(i: number): Float32Array | null {
    const state = this.optimizer.state.get(this.params[i]);
    return (state?.momentumBuffer as GpuTensor | null | undefined)?.readSync() ?? null;
  }

  #groups(n: number) {
    return this.t.groups.filter(({ from = 1 }) => from === n).map(({ options, tensors }) => ({
      ...options,
      params: tensors.map((i) => this.params[i]),
    }));
  }

  #include(i: number, array: Float32Array | null): void {
    if (array === null) return;
    const most = this.scale[i];
    shown(this.t, i, array).forEach((x, k) => {
      if (Math.abs(x) > most[k] && Math.abs(x) < Infinity) most[k] = Math.abs(x);
    });
  }
}

/** How far a tensor is from torch's. */
interface Distance {
  elements: number;
  equal: number;
  /** The worst element's distance in units. */
  worst: number;
}

function measure(
  t: Trajectory,
  i: number,
  actual: Float32Array | null,
  golden: Result | null,
  scale: Float32Array,
  sum: Distance,
): void {
  assertEquals(actual === null, golden === null, `${t.case}: tensor ${i} has a buffer, or not`);
  if (actual === null || golden === null) return;
  const expected = fromHex(t.dtype, typeof golden === "string" ? golden : golden.samples);
  const few = shown(t, i, actual);
  assertEquals(few.length, expected.length);
  sum.elements += few.length;
  few.forEach((x, k) => {
    if (Object.is(x, expected[k])) sum.equal++;
    else {
      const units = Math.abs(x - expected[k]) / (2 ** -23 * scale[k] + 2 ** -126);
      const text = `${t.case}: element ${k} of tensor ${i} is ${x}, ${units} units from torch's`;
      assert(units <= BOUND, `${text} ${expected[k]}`);
      sum.worst = Math.max(sum.worst, units);
    }
  });
}

function compare(gpu: Gpu, t: Trajectory, sum: Distance): void {
  const run = new Run(gpu, t);
  for (let n = 1; n <= t.steps; n++) run.step(n);
  t.results.forEach(({ data, buffer }, i) => {
    measure(t, i, run.params[i].data.readSync(), data, run.scale[i], sum);
    measure(t, i, run.buffer(i), buffer, run.scale[i], sum);
  });
  for (const { data, grad } of run.params) {
    data[Symbol.dispose]();
    grad?.[Symbol.dispose]();
  }
}

function compareAll(gpu: Gpu, cases: readonly Trajectory[]): void {
  const sum: Distance = { elements: 0, equal: 0, worst: 0 };
  for (const t of cases) compare(gpu, t, sum);
  console.log(
    `${sum.equal} of ${sum.elements} elements have torch's bits; ` +
      `the worst is ${sum.worst.toFixed(2)} units off`,
  );
}

const singles = trajectories.filter(({ dtype }) => dtype === "float32");

for (const family of new Set(singles.map((t) => t.family))) {
  const cases = singles.filter((t) => t.family === family);
  gpuTest(`torch's numbers: ${family}`, (gpu) => compareAll(gpu, cases));
}

gpuTest(
  "torch's numbers: every size from 0 to 70, in many blocks",
  (gpu) => compareAll(gpu, singles.filter((t) => t.family === "every size from 0 to 70")),
  TINY,
);
