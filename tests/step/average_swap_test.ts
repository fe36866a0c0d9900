/** Averages in the place of parameters, their state, and what a `WeightAverage` refuses. */

import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { BFloat16Array, SGD, WeightAverage } from "@descent/sgd";
import type { HostArray } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

const ARRAYS: Record<string, (values: readonly number[]) => HostArray> = {
  float32: (values) => Float32Array.from(values),
  float64: (values) => Float64Array.from(values),
  float16: (values) => Float16Array.from(values),
  bfloat16: (values) => BFloat16Array.from(values),
};

testOnBackends("swapping twice gives all bits back, of parameters and of averages", (backend) => {
  for (const make of Object.values(ARRAYS)) {
    const w = { data: make([1, -0, NaN, 1 / 3, ...new Array(20_000).fill(0.1)]) };
    const average = new WeightAverage([w], { decay: "mean", backend });
    average.update();
    w.data.set(make([2, 0, 1, 7, ...new Array(20_000).fill(0.7)]));
    average.update();
    const [before, state] = [w.data.slice(), average.stateDict()];
    average.swap();
    assertEquals(average.isSwapped, true);
    assertEquals(w.data[0], make([1.5])[0]);
    assertEquals(w.data[20_000], make([state.averages[0].data[20_000]])[0]);
    average.swap();
    assertEquals(w.data, before);
    assertEquals(average.stateDict(), state);
  }
});

testOnBackends("applied swaps back at the end of its block, also after an error", (backend) => {
  const w = { data: new Float32Array([1]) };
  const average = new WeightAverage([w], { decay: 0.5, backend });
  w.data[0] = 3;
  assertThrows(() => {
    using _ = average.applied();
    assertEquals(w.data[0], 1);
    throw new RangeError("an evaluation failed");
  }, RangeError);
  assertEquals([w.data[0], average.isSwapped], [3, false]);
  {
    using _ = average.applied();
    average.swap(); // by hand
  }
  assertEquals([w.data[0], average.isSwapped], [3, false]);
});

testOnBackends("a swapped average refuses everything but swapping back", (backend) => {
  const w = { data: new Float32Array([1]), grad: new Float32Array([1]) };
  const optimizer = new SGD([w], { lr: 1, backend });
  const average = new WeightAverage([w], { decay: 0.5, backend });
  const state = average.stateDict();
  average.swap();
  const refused = "its values are in the parameters: swap back first";
  assertThrows(() => average.update(), Error, `Cannot update the average as ${refused}`);
  assertThrows(() => average.applied(), Error, `Cannot apply the average as ${refused}`);
  assertThrows(() => average.stateDict(), Error, `Cannot take the state as ${refused}`);
  assertThrows(() => average.loadStateDict(state), Error, `Cannot load the state as ${refused}`);
  assertThrows(() => optimizer.step({ average }), Error, `Cannot step with average as ${refused}`);
  assertEquals(w.data[0], 1);
  const { data } = w;
  w.data = new Float32Array([5]);
  assertThrows(() => average.swap(), Error, "data of parameter 0 must be the array");
  w.data = data;
  average.swap();
  average.update();
});

testOnBackends(
  "an average without updates has the first values, and the first update copies",
  (backend) => {
    const w = { data: new Float32Array([1, 2]) };
    for (const decay of [0.999, "mean"] as const) {
      w.data.set([1, 2]);
      const average = new WeightAverage([w], { decay, backend });
      w.data.set([3, 4]);
      assertEquals(average.stateDict(), {
        n_averaged: 0,
        averages: { 0: { data: new Float32Array([1, 2]) } },
      });
      average.update();
      assertEquals(average.stateDict().averages[0].data, new Float32Array([3, 4]));
    }
  },
);

testOnBackends(
  "with biasCorrection each value has its exponential weight, whenever it came",
  (backend) => {
    for (const decay of [0, 0.25, 0.9, 1]) {
      const w = { data: new Float64Array(1) };
      const average = new WeightAverage([w], { decay, biasCorrection: true, backend });
      const values = [3, -1, 4, 1, 5];
      values.forEach((value, i) => {
        w.data[0] = value;
        average.update();
        const weights = values.slice(0, i + 1).map((_, j) => decay ** (i - j));
        const sum = weights.reduce((total, weight, j) => total + weight * values[j], 0);
        const right = sum / weights.reduce((total, weight) => total + weight, 0);
        const found = average.stateDict().averages[0].data[0];
        assertEquals(
          Math.abs(found - right) < 1e-13,
          true,
          `decay ${decay}: ${found}, not ${right}`,
        );
      });
    }
  },
);

testOnBackends("a state resumes bit for bit, by names where all have one", (backend) => {
  const list = ["a", "b"].map((name, i) => ({
    ...{ name, shape: [2, 1 + i] },
    data: new Float32Array(2 + 2 * i).fill(i + 1),
  }));
  const [one, two] = [list, list.toReversed()].map((params) =>
    new WeightAverage(params, { decay: 0.9, backend })
  );
  const advance = (average: WeightAverage) => {
    for (const { data } of list) data[0] += 0.3;
    average.update();
  };
  for (let i = 0; i < 3; i++) advance(one);
  const state = one.stateDict();
  assertEquals([state.n_averaged, state.param_names], [3, ["a", "b"]]);
  assertEquals(state.averages[1].shape, [2, 2]);
  two.loadStateDict(structuredClone(state));
  assertEquals(two.count, 3);
  const [before, after] = [one, two].map((average) => {
    average.update();
    return Object.values(average.stateDict().averages).map(({ data }) => data);
  });
  assertEquals(after.toReversed(), before);
});

Deno.test("a state that does not fit is refused, and nothing changes", () => {
  const w = { data: new Float32Array(4), name: "w", shape: [2, 2] };
  const average = new WeightAverage([w], { decay: 0.5 });
  const data = new Float32Array(4);
  const cases: [unknown, string][] = [
    [undefined, "it has no weight_average: saveState(path, optimizer, { average }) saves it"],
    [{ n_averaged: 1 }, "weight_average.averages must be a plain object"],
    [{ averages: { 0: { data } } }, "weight_average.n_averaged must be a whole number >= 0"],
    [{ n_averaged: -1, averages: { 0: { data } } }, "n_averaged must be a whole number >= 0"],
    [{ n_averaged: 1, averages: {} }, "it must have the averages of 1 parameters"],
    [{ n_averaged: 1, averages: { 1: { data } } }, 'weight_average.averages["0"] must be there'],
    [{ n_averaged: 1, averages: { 0: { data: [1] } } }, "must be a Float32Array"],
    [{ n_averaged: 1, averages: { 0: { data: new Float16Array(4) } } }, "must be a Float32Array"],
    [{ n_averaged: 1, averages: { 0: { data: new Float64Array(4) } } }, "it must be float32"],
    [{ n_averaged: 1, averages: { 0: { data: data.slice(1) } } }, "its length must be 4"],
    [{ n_averaged: 1, averages: { 0: { data, shape: [4, 1] } } }, "its shape must be [2, 2]"],
    [{ n_averaged: 1, averages: { 0: { data, shape: [3] } } }, "shape must have 4 elements"],
    [{ n_averaged: 1, averages: { 0: { data, x: 1 } } }, "x is not a state of a WeightAverage"],
    [{ n_averaged: 1, decay: 1, averages: { 0: { data } } }, "decay is not a state"],
    [{ n_averaged: 1, averages: { 0: { data } }, param_names: ["v"] }, 'parameter 0 ("w")'],
    [{ n_averaged: 1, averages: { 0: { data } }, param_names: [] }, "must have 1 names"],
    [{ n_averaged: 1, averages: { 0: { data } }, param_names: [1] }, "param_names[0] must be"],
  ];
  const before = average.stateDict();
  for (const [dict, message] of cases) {
    assertThrows(() => average.loadStateDict(dict as never), Error, message);
    assertEquals(average.stateDict(), before);
  }
});

Deno.test("options and parameters that do not fit are refused in words", () => {
  const w = { data: new Float32Array(2) };
  const cases: [unknown, unknown, string][] = [
    [[w], undefined, "Cannot read the options as they must be an object"],
    [[w], {}, 'Cannot set decay as it must be a number or "mean": current value is undefined'],
    [[w], { decay: 1.5 }, "Cannot set decay as it must be >= 0 and <= 1: current value is 1.5"],
    [[w], { decay: "ema" }, 'it must be a number or "mean": current value is "ema"'],
    [[w], { decay: 1, biasCorrection: 1 }, "Cannot set biasCorrection as it must be true or false"],
    [[w], { decay: "mean", biasCorrection: true }, 'it must be false with decay "mean"'],
    [[w], { decay: 1, momentum: 1 }, 'Cannot read option "momentum" as it does not exist'],
    [[w], { decay: 1, backend: "gpu" }, "Cannot set backend"],
    [[], { decay: 1 }, "Cannot use params as it must hold at least one parameter"],
    [1, { decay: 1 }, "Cannot use params as it must be iterable: current value is 1"],
    [[{}], { decay: 1 }, "Cannot use parameter 0 as it must be an object { data, grad }"],
    [[{ data: [1] }], { decay: 1 }, "a Float16Array or a BFloat16Array: current value is of type"],
    [[w, w], { decay: 1 }, "Cannot average parameter 1 as it must be in the list once"],
    [[w, { data: w.data.subarray(1) }], { decay: 1 }, "they must not share memory"],
  ];
  for (const [params, options, message] of cases) {
    assertThrows(() => new WeightAverage(params as never, options as never), Error, message);
  }
  const optimizer = new SGD([{ ...w, grad: null }], { lr: 1 });
  const wrong = "Cannot set average as it must be a WeightAverage: current value is";
  assertThrows(() => optimizer.step({ average: {} as never }), TypeError, `${wrong} an object`);
  assertThrows(() => optimizer.step({ average: null as never }), TypeError, `${wrong} null`);
});

testOnBackends(
  "data of another type or length are refused before anything is written",
  (backend) => {
    const w = {
      data: new Float32Array([1, 2]) as HostArray,
      grad: new Float32Array([1, 1]) as HostArray,
    };
    const optimizer = new SGD<HostArray>([w], { lr: 1, backend });
    const average = new WeightAverage([w], { decay: 0.5, backend });
    const other = { data: new Float32Array(2) };
    const both = new WeightAverage([w, other], { decay: 0.5, backend });
    for (const make of [() => new Float64Array(2), () => new Float32Array(3)]) {
      w.data = make();
      w.grad = make();
      for (const use of [() => average.update(), () => average.swap()]) {
        assertThrows(use, Error, "data of parameter 0");
      }
      assertThrows(() => optimizer.step({ average }), Error, "data of parameter 0");
      assertEquals(w.data, make());
    }
    [w.data, w.grad] = [new Float32Array([1, 2]), new Float32Array([1, 1])];
    other.data = new Float32Array(3);
    assertThrows(() => optimizer.step({ average: both }), RangeError, "data of parameter 1");
    assertEquals(w.data, new Float32Array([1, 2]));
    other.data = new Float32Array(2);
    structuredClone(other.data, { transfer: [other.data.buffer] });
    assertThrows(() => optimizer.step({ average: both }), TypeError, "its buffer is detached");
    assertEquals([w.data, average.count], [new Float32Array([1, 2]), 0]);
  },
);

testOnBackends("groups of an optimizer are averaged as its parameters", (backend) => {
  const [a, b] = [1, 2].map((value) => ({ data: new Float32Array([value]), grad: null }));
  const optimizer = new SGD([{ params: [a], lr: 1 }, { params: [b], lr: 2 }], { lr: 1, backend });
  const average = new WeightAverage(optimizer.paramGroups, { decay: 0.5, backend });
  assertEquals(Object.keys(average.stateDict().averages).length, 2);
  assertNotEquals(average.stateDict().averages[0], average.stateDict().averages[1]);
});
