/**
 * Every golden float32 trajectory on the GPU. Each step has exactly the bits of the rule in the
 * arithmetic that the device turns out to have; where that is IEEE's, those are torch's bits. Each test
 * prints how many elements have them.
 */

import { assertEquals } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { GroupOptions, Parameter, ParamGroup } from "@descent/sgd";
import type { Gpu, GpuTensor } from "@descent/sgd/gpu";
import type { Arithmetic } from "../../src/core/rule.ts";
import { fromHex, input, samples, trajectories } from "../support/golden.ts";
import type { Result, Trajectory } from "../support/golden.ts";
import { gpuTest, TINY } from "./gpu.ts";
import { arithmeticOf, assertBits, describeHabits, probe, stepReference } from "./reference.ts";
import type { Habits, Reference } from "./reference.ts";

const IEEE: Habits = { rounds: "once", flushes: "nothing" };

/** A trajectory on the way, by the rule on the host. */
class HostRun {
  readonly arrays: Reference[];
  readonly #optimizer: SGD<Float32Array>;

  constructor(readonly t: Trajectory, readonly arithmetic: Arithmetic<number>) {
    const params = t.tensors.map((_, i) => ({ data: input(t, i, 0) as Float32Array, grad: null }));
    this.arrays = params.map(({ data }) => ({ data, grad: data, buffer: null }));
    this.#optimizer = new SGD<Float32Array>(groupsAt(t, 1, params), { lr: 1 });
  }

  step(n: number): void {
    const { t, arrays, arithmetic } = this;
    applyChanges(t, n, arrays.map(({ data }) => ({ data, grad: null })), this.#optimizer);
    const groups = this.#optimizer.paramGroups as readonly ParamGroup[];
    t.groups.filter(({ from = 1 }) => from <= n).forEach(({ tensors }, g) => {
      for (const i of tensors) {
        const grad = input(t, i, n) as Float32Array | null;
        if (grad === null) continue;
        const own = { ...arrays[i], grad };
        stepReference(arithmetic, own, groups[g]);
        arrays[i].buffer = own.buffer;
      }
    });
  }
}

/** The groups that are added before a step. */
function groupsAt<P>(t: Trajectory, n: number, params: readonly P[]) {
  return t.groups.filter(({ from = 1 }) => from === n).map(({ options, tensors }) => ({
    ...options,
    params: tensors.map((i) => params[i]),
  }));
}

function applyChanges<P extends Parameter<Float32Array | GpuTensor>>(
  t: Trajectory,
  n: number,
  params: readonly P[],
  optimizer: SGD<Float32Array> | SGD<GpuTensor>,
): void {
  const any = optimizer as SGD<Float32Array | GpuTensor>;
  if (n > 1) { for (const group of groupsAt(t, n, params)) any.addParamGroup(group); }
  for (const { before, group, options } of t.changes ?? []) {
    if (before === n) Object.assign(any.paramGroups[group] as GroupOptions, options);
  }
}

/** A trajectory on the way, on a GPU. */
class GpuRun {
  readonly params: Parameter<GpuTensor>[];
  readonly #optimizer: SGD<GpuTensor>;

  constructor(readonly gpu: Gpu, readonly t: Trajectory) {
    this.params = t.tensors.map((_, i) => ({
      ...{ data: gpu.tensor(input(t, i, 0) as Float32Array), grad: null },
    }));
    this.#optimizer = new SGD<GpuTensor>(groupsAt(t, 1, this.params), { lr: 1 });
  }

  step(n: number): void {
    const { t, gpu, params } = this;
    applyChanges(t, n, params, this.#optimizer);
    params.forEach((param, i) => {
      param.grad?.[Symbol.dispose]();
      const grad = input(t, i, n) as Float32Array | null;
      param.grad = grad && gpu.tensor(grad);
    });
    this.#optimizer.step();
  }

  buffer(i: number): Float32Array | null {
    const state = this.#optimizer.state.get(this.params[i]);
    return (state?.momentumBuffer as GpuTensor | null | undefined)?.readSync() ?? null;
  }

  dispose(): void {
    for (const { data, grad } of this.params) {
      for (const each of [data, grad]) each?.[Symbol.dispose]();
    }
  }
}

/** How many of the elements that a trajectory shows have torch's bits. */
function countEqual(t: Trajectory, i: number, array: Float32Array, golden: Result) {
  const isWhole = typeof golden === "string";
  const expected = fromHex(t.dtype, isWhole ? golden : golden.samples);
  const shown = isWhole ? array : samples(array) as Float32Array;
  assertEquals(shown.length, expected.length, `${t.case}: tensor ${i}`);
  const equal = shown.filter((x, k) => Object.is(x, expected[k])).length;
  return { equal, elements: shown.length };
}

/** Takes all steps of a trajectory; returns what a test compares with torch. */
function compare(gpu: Gpu, t: Trajectory, arithmetic: Arithmetic<number>): Float32Array[][] {
  const [host, device] = [new HostRun(t, arithmetic), new GpuRun(gpu, t)];
  for (let n = 1; n <= t.steps; n++) {
    host.step(n);
    device.step(n);
  }
  const results = host.arrays.map(({ data, buffer }, i) => {
    const [ownData, ownBuffer] = [device.params[i].data.readSync(), device.buffer(i)];
    assertBits(ownData, data, `${t.case}: tensor ${i}`);
    assertEquals(ownBuffer === null, buffer === null, `${t.case}: tensor ${i} has a buffer`);
    if (buffer === null) return [ownData];
    assertBits(ownBuffer!, buffer, `${t.case}: buffer ${i}`);
    return [ownData, ownBuffer!];
  });
  device.dispose();
  return results;
}

function compareAll(gpu: Gpu, cases: readonly Trajectory[]): void {
  const habits = probe(gpu);
  const total = { equal: 0, elements: 0 };
  for (const t of cases) {
    compare(gpu, t, arithmeticOf(habits)).forEach((arrays, i) => {
      const { data, buffer } = t.results[i];
      [data, buffer].forEach((golden, k) => {
        if (golden === null) return;
        const { equal, elements } = countEqual(t, i, arrays[k], golden);
        total.equal += equal;
        total.elements += elements;
      });
    });
  }
  console.log(`${describeHabits(gpu.info, habits)}:`);
  console.log(
    `${total.equal} of ${total.elements} elements have torch's bits, all have the rule's`,
  );
  const { rounds, flushes } = habits;
  if (rounds === "once" && flushes === "nothing") assertEquals(total.equal, total.elements);
}

const singles = trajectories.filter(({ dtype }) => dtype === "float32");

for (const family of new Set(singles.map((t) => t.family))) {
  const cases = singles.filter((t) => t.family === family);
  Deno.test(`the reference that rounds fma once has torch's numbers: ${family}`, () => {
    for (const t of cases) {
      const run = new HostRun(t, arithmeticOf(IEEE));
      for (let n = 1; n <= t.steps; n++) run.step(n);
      run.arrays.forEach(({ data, buffer }, i) => {
        const golden = t.results[i];
        for (const [own, result] of [[data, golden.data], [buffer, golden.buffer]] as const) {
          assertEquals(own === null, result === null);
          if (own === null || result === null) continue;
          const { equal, elements } = countEqual(t, i, own, result);
          assertEquals(equal, elements, `${t.case}: tensor ${i}`);
        }
      });
    }
  });
  gpuTest(`the rule's very bits: ${family}`, (gpu) => compareAll(gpu, cases));
}

gpuTest(
  "the rule's very bits: every size from 0 to 70, in many blocks",
  (gpu) => compareAll(gpu, singles.filter((t) => t.family === "every size from 0 to 70")),
  TINY,
);
