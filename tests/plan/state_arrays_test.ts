/** Tests of momentum buffers and master weights where parameters or states change between steps. */

import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { type BFloat16Array, SGD, type SGDOptions } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

type Any = Float16Array | BFloat16Array | Float32Array | Float64Array;
type Make = new (length: number) => Any;

interface Parameter {
  data: Any;
  grad: Any | null;
}

function ones(length: number, type: Make = Float32Array): Parameter {
  return { data: new type(length).fill(1), grad: new type(length).fill(1) };
}

function optimizerOf(params: Parameter[], options: Partial<SGDOptions>): SGD {
  return new SGD(params as { data: Float32Array; grad: Float32Array }[], { lr: 0.1, ...options });
}

testOnBackends(
  "a parameter that is no longer of 16 bits goes without its master weight",
  (backend) => {
    for (const type of [Float32Array, Float64Array]) {
      for (const length of [4, 5]) {
        const [w, half] = [ones(4, Float16Array), ones(4, Float16Array)];
        const optimizer = optimizerOf([w, half], { masterWeights: true, backend });
        optimizer.step();
        [w.data, w.grad] = [new type(length).fill(3), new type(length).fill(10)];
        optimizer.step();
        optimizer.step({ maxNorm: 1e9 });
        assertEquals(w.data, new type(length).fill(3).map((x) => x - type.of(0.1)[0] * 20));
      }
    }
  },
);

testOnBackends(
  "data of another length do no harm to others while they have no gradient",
  (backend) => {
    for (const data of [new Float32Array(8), new Float32Array(2), new Float64Array(4)]) {
      for (const isSeen of [false, true]) {
        const [a, b] = [ones(4), ones(4)];
        const optimizer = optimizerOf([a, b], { momentum: 0.5, backend });
        optimizer.step();
        if (isSeen) assertEquals(optimizer.state.size, 2);
        [a.data, a.grad] = [data, null];
        optimizer.step();
        assertEquals(b.data, new Float32Array(4).fill(0.75));
        optimizer.addParamGroup({ params: [ones(3)] as { data: Float32Array; grad: null }[] });
        optimizer.step();
      }
    }
  },
);

testOnBackends("data that had another length for a while are stepped again", (backend) => {
  const [a, b] = [ones(4), ones(4)];
  const optimizer = optimizerOf([a, b], { momentum: 0.5, backend });
  optimizer.step();
  const { data, grad } = a;
  [a.data, a.grad] = [new Float32Array(8), new Float32Array(8)];
  assertThrows(() => optimizer.step(), RangeError, "momentum buffer of parameter 0");
  [a.data, a.grad] = [data, grad];
  optimizer.step();
  assertEquals([a.data, b.data], [b.data, new Float32Array(4).fill(0.75)]);
});

testOnBackends(
  "a state that was assigned wrongly can be taken back without a gradient",
  (backend) => {
    const [a, b] = [ones(4), ones(4)];
    const optimizer = optimizerOf([a, b], { momentum: 0.5, backend });
    optimizer.step();
    const [first, second] = [...optimizer.state.values()] as { momentumBuffer: unknown }[];
    first.momentumBuffer = second.momentumBuffer;
    assertThrows(() => optimizer.step(), RangeError, "overlap");
    [first.momentumBuffer, a.grad] = [null, null];
    optimizer.step();
    assertEquals(b.data, new Float32Array(4).fill(0.75));
  },
);

testOnBackends("a useless master weight is not a reason to reject", async (backend) => {
  const [wide, half] = [ones(4), ones(4, Float16Array)];
  const optimizer = optimizerOf([wide, half], { masterWeights: true, backend });
  const [state] = [...optimizer.state.values()] as { masterWeight: unknown }[];
  state.masterWeight = new Float32Array(4);
  await optimizer.stepAsync();
  assertEquals(wide.data, new Float32Array(4).fill(0.9));
});

testOnBackends("stepAsync sees that data without a gradient were detached", async (backend) => {
  const [a, b] = [ones(4), ones(4)];
  const optimizer = optimizerOf([a, b], { backend });
  a.grad = null;
  const step = optimizer.stepAsync();
  const kept = structuredClone(a.data, { transfer: [a.data.buffer as ArrayBuffer] });
  await assertRejects(() => step, Error, "data of parameter 0 was detached");
  assertEquals(kept.length, 4);
});

testOnBackends("an overlap beside data that were detached has the names of the pair", (backend) => {
  const old = { data: new Float32Array(4), grad: null, name: "old" };
  const optimizer = new SGD([old], { lr: 0.1, backend });
  const buffer = old.data.buffer.transfer();
  const params = [
    { data: new Float32Array(buffer), grad: null, name: "x" },
    { data: new Float32Array(buffer, 4, 2), grad: null, name: "y" },
  ];
  const text = 'data of parameter 1 ("x") and data of parameter 2 ("y")';
  assertThrows(() => optimizer.addParamGroup({ params }), RangeError, text);
  optimizer.addParamGroup({ params: params.slice(1) }); // where the data of the first one were
  assertEquals(optimizer.paramGroups.length, 2);
});

testOnBackends(
  "other parameters are loaded and added beside one that cannot be used",
  (backend) => {
    const [a, b] = [ones(4), ones(4)];
    const optimizer = optimizerOf([a, b], { momentum: 0.5, backend });
    optimizer.step();
    const dict = optimizer.stateDict();
    structuredClone(null, { transfer: [a.data.buffer as ArrayBuffer] });
    const error = assertThrows(() => optimizer.step(), TypeError);
    assertStringIncludes(error.message, "data of parameter 0");
    optimizer.addParamGroup({ params: [ones(3)] as { data: Float32Array; grad: Float32Array }[] });
    assertEquals(optimizer.paramGroups.length, 2);
    dict.state = { 1: { momentum_buffer: new Float32Array(4).fill(8) } };
    dict.param_groups[0].params = [9, 1];
    assertThrows(() => optimizer.loadStateDict(dict), TypeError, "detached"); // it is asked to fit both
  },
);

testOnBackends("a getter cannot add a group while one is added", (backend) => {
  const optimizer = optimizerOf([ones(1)], { backend });
  const nested = {
    get data() {
      optimizer.addParamGroup({ params: [{ data: new Float32Array(1), grad: null }] });
      return new Float32Array(2);
    },
    set data(_) {
      throw new Error("nobody sets it here");
    },
    grad: null,
  };
  assertThrows(
    () => optimizer.addParamGroup({ params: [nested] }),
    Error,
    "is reading its parameters",
  );
  assertEquals(optimizer.paramGroups.length, 1);
});

testOnBackends(
  "a momentum buffer that is first seen while a step runs is in use",
  async (backend) => {
    const [w, other] = [ones(4), ones(4)];
    const optimizer = optimizerOf([w], { momentum: 0.5, backend });
    optimizer.step();
    const second = optimizerOf([other], { backend });
    const step = optimizer.stepAsync();
    other.grad = [...optimizer.state.values()][0].momentumBuffer!;
    assertThrows(() => second.step(), Error, "grad of parameter 0");
    await step;
    second.step();
  },
);

testOnBackends("a master weight comes back with the data that it belongs to", (backend) => {
  const w = ones(4, Float16Array);
  const optimizer = optimizerOf([w], { masterWeights: true, momentum: 0.5, backend });
  optimizer.step();
  const [state] = [...optimizer.state.values()] as {
    masterWeight: unknown;
    momentumBuffer: unknown;
  }[];
  const { masterWeight } = state;
  state.momentumBuffer = null;
  const { data, grad } = w;
  [w.data, w.grad] = [new Float64Array(4), new Float64Array(4)];
  optimizer.step();
  assertEquals(state.masterWeight === masterWeight, true);
  [w.data, w.grad, state.momentumBuffer] = [data, grad, null];
  optimizer.step();
  const lr = Math.fround(0.1);
  assertEquals(masterWeight, new Float32Array(4).fill(Math.fround(1 - lr) - lr));
});

testOnBackends("a getter that gives other data while a state is loaded ends it", (backend) => {
  const [narrow, wide] = [new Float32Array(4), new Float64Array(4)];
  let left = Infinity;
  const w = { ...ones(4), data: narrow };
  Object.defineProperty(w, "data", { get: () => left-- > 0 ? narrow : wide });
  const optimizer = optimizerOf([w], { momentum: 0.5, backend });
  const dict = optimizer.stateDict();
  dict.state = { 0: { momentum_buffer: new Float32Array(4) } };
  for (let reads = 0; reads < 12; reads++) {
    left = reads;
    try {
      optimizer.loadStateDict(dict);
    } catch (error) {
      assertStringIncludes(String(error), "RangeError");
      continue;
    }
    left = Infinity;
    assertEquals(optimizer.stateDict().state[0].momentum_buffer, new Float32Array(4));
  }
});
