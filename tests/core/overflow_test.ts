/** Hyperparameters that a dtype cannot hold are errors, as in torch, before anything is written. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BFloat16Array, GradScaler, SGD, sgd, sgdVjp } from "@descent/sgd";
import type { FloatArray, HostArray, SGDOptions, SparseGrad } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { array } from "../support/faults.ts";

/** What torch does with one hyperparameter. `golden/make_overflow.py` writes these. */
interface Case {
  readonly dtype: keyof typeof ARRAYS;
  readonly option: "lr" | "momentum" | "weightDecay" | "dampening";
  readonly value: number;
  readonly refused: boolean;
}

const ARRAYS = {
  float16: () => Float16Array.of(1, 1) as HostArray,
  bfloat16: () => BFloat16Array.of(1, 1) as HostArray,
  float32: () => Float32Array.of(1, 1) as HostArray,
  float64: () => Float64Array.of(1, 1) as HostArray,
};

const golden: Case[] = Deno.readTextFileSync(new URL("../golden/overflow.jsonl", import.meta.url))
  .trim().split("\n").map((line) => JSON.parse(line));

const options = { lr: 0.5, momentum: 0.5, weightDecay: 0.5 };
const make = (dtype: Case["dtype"], others: Omit<SGDOptions, "lr">) => {
  const w = { data: ARRAYS[dtype](), grad: ARRAYS[dtype](), name: "w" };
  return { w, optimizer: new SGD<HostArray>([w], { ...options, ...others }) };
};
const state = (optimizer: SGD<HostArray>) => optimizer.stateDict({ parameters: true });

testOnBackends("what torch refuses is refused, and nothing is written", async (backend) => {
  for (const { dtype, option, value, refused } of golden) {
    const nesterov = option !== "dampening";
    const { w, optimizer } = make(dtype, { rounding: "torch", nesterov, backend });
    optimizer.step();
    Object.assign(optimizer.paramGroups[0], { [option]: value });
    if (!refused) {
      optimizer.step();
      continue;
    }
    const before = [state(optimizer), w.grad.slice(), optimizer.lastStep];
    const text = `Cannot step parameter 0 ("w") as ${option} must be at most`;
    for (const request of [undefined, { zeroGrad: true }, { maxNorm: 1 }]) {
      const { message } = assertThrows(() => optimizer.step(request), RangeError, text);
      assert(message.includes(dtype) && message.includes(String(value)), message);
      await assertRejects(() => optimizer.stepAsync(request), RangeError, text);
    }
    assertThrows(() => new GradScaler().step(optimizer), RangeError, text);
    assertEquals([state(optimizer), w.grad, optimizer.lastStep], before);
    Object.assign(optimizer.paramGroups[0], { [option]: 0.5, nesterov: false });
    optimizer.step();
  }
});

testOnBackends("16-bit types that are computed in float32 have its limit", (backend) => {
  for (const dtype of ["float16", "bfloat16"] as const) {
    for (const rounding of ["nearest", "stochastic"] as const) {
      for (const masterWeights of [false, true]) {
        const { optimizer } = make(dtype, { rounding, masterWeights, backend });
        optimizer.paramGroups[0].lr = 1e38;
        optimizer.step();
        optimizer.paramGroups[0].lr = 1e39;
        assertThrows(() => optimizer.step(), RangeError, "the largest float32");
      }
    }
  }
});

testOnBackends("only what is stepped counts", (backend) => {
  const narrow = { data: array(1), grad: null as FloatArray | null };
  const wide = { data: Float64Array.of(1), grad: Float64Array.of(1) };
  const groups = [{ params: [narrow, wide], lr: 1e39 }, {
    params: [{ ...narrow, data: array(1) }],
  }];
  const optimizer = new SGD(groups, { lr: 1, dampening: 1e39, backend });
  optimizer.step();
  assertEquals(wide.data, Float64Array.of(-1e39));
  narrow.grad = array(1);
  assertThrows(() => optimizer.step(), RangeError, "parameter 0 as lr must be at most 3.4");
  assertEquals([narrow.data, wide.data], [array(1), Float64Array.of(-1e39)]);
});

testOnBackends("sparse steps, sgd and sgdVjp refuse the same", (backend) => {
  const grad: SparseGrad = { indices: new Int32Array([0]), values: array(1), shape: [2, 1] };
  const s = { data: array(1, 2), grad };
  const optimizer = new SGD([s], { lr: 1e39, backend });
  assertThrows(() => optimizer.step(), RangeError, "parameter 0 as lr must be at most 3.4");
  const all = { ...{ momentum: 0.5, dampening: 0, nesterov: false, maximize: false }, backend };
  const [w, buffers] = [array(1, 2), [null]];
  const step = { ...all, lr: 1, weightDecay: 1e39 };
  const text = "parameter 0 as weightDecay must be at most 3.4";
  assertThrows(() => sgd([w], [array(1, 1)], buffers, step), RangeError, text);
  const cotangents = { params: [array(1, 1)] };
  assertThrows(() => sgdVjp([w], [array(1, 1)], [null], cotangents, step), RangeError, text);
  assertEquals([s.data, w, buffers], [array(1, 2), array(1, 2), [null]]);
});

testOnBackends(
  "momentum is looked at without nesterov too, where torch writes infinity",
  (backend) => {
    const { optimizer } = make("float32", { backend });
    optimizer.step();
    const before = state(optimizer);
    optimizer.paramGroups[0].momentum = 1e39;
    assertThrows(() => optimizer.step(), RangeError, "momentum must be at most");
    optimizer.paramGroups[0].momentum = 0.5;
    assertEquals(state(optimizer), before);
  },
);
