/** What the class and the function do beyond the numbers of one step. */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { type Parameter, SGD, sgd } from "@descent/sgd";
import { js } from "../../src/backends/js/backend.ts";
import { cpuMissing, testOnBackends } from "../support/backends.ts";

const array = (...values: number[]) => new Float32Array(values);
const parameter = (...values: number[]): Parameter => ({
  data: array(...values),
  grad: array(...values.map(() => 1)),
});

testOnBackends("step returns what the closure returns, which runs before the update", (backend) => {
  const w = parameter(1);
  const optimizer = new SGD([w], { lr: 1, backend });
  const loss = optimizer.step(() => {
    w.grad!.fill(2);
    return w.data[0];
  });
  assertEquals([loss, w.data], [1, array(-1)]);
  assertEquals(optimizer.step(), undefined);
});

testOnBackends("a closure that throws leaves everything as it was", (backend) => {
  const w = parameter(1);
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend });
  assertThrows(() => optimizer.step(() => assert(false)));
  assertEquals([w.data, optimizer.state.get(w)], [array(1), {
    momentumBuffer: null,
    masterWeight: null,
  }]);
});

Deno.test("options may be left out where every group has a learning rate", () => {
  const [a, b] = [parameter(1), parameter(1)];
  const groups = [{ params: [a], lr: 0.5 }, { params: [b], lr: 0.25, momentum: 0.9 }];
  for (const given of [groups, new Set(groups), groups.values()]) {
    const optimizer = new SGD(given);
    assertEquals(optimizer.paramGroups.map(({ lr, momentum }) => [lr, momentum]), [
      [0.5, 0],
      [0.25, 0.9],
    ]);
  }
  new SGD(groups).step();
  assertEquals([a.data, b.data], [array(0.5), array(0.75)]);
});

testOnBackends("zeroGrad fills with zeros, or sets to null if asked", (backend) => {
  const w = parameter(1, 2);
  const optimizer = new SGD([w, { data: array(1), grad: null }], { lr: 1, backend });
  const { grad } = w;
  optimizer.zeroGrad();
  assertStrictEquals(w.grad, grad);
  assertEquals(grad, array(0, 0));
  optimizer.zeroGrad({ setToNull: true });
  assertStrictEquals(w.grad, null);
});

testOnBackends("a null gradient skips decay and momentum, a zero gradient does not", (backend) => {
  const [skipped, zero] = [parameter(1), parameter(1)];
  const optimizer = new SGD([skipped, zero], { lr: 0.5, momentum: 0.5, weightDecay: 1, backend });
  optimizer.step();
  const [data] = [skipped.data.slice(), zero.data.slice()];
  skipped.grad = null;
  zero.grad!.fill(0);
  optimizer.step();
  assertEquals(skipped.data, data);
  assertEquals(optimizer.state.get(skipped)!.momentumBuffer, array(2));
  assertEquals(zero.data, array(-0.5)); // b = 0.5 * 2 + 1 * 0; p = 0 - 0.5 * 1
});

testOnBackends("a group's options override the shared ones, and can be assigned", (backend) => {
  const [a, b] = [parameter(0), parameter(0)];
  const optimizer = new SGD([{ params: [a], lr: 1 }, { params: [b] }], { lr: 2, backend });
  optimizer.step();
  assertEquals([a.data, b.data], [array(-1), array(-2)]);
  const [group] = optimizer.paramGroups;
  group.lr = 10;
  optimizer.step();
  assertEquals([a.data, b.data], [array(-11), array(-4)]);
  assertEquals({ ...group }.lr, 10);
  assertStrictEquals(optimizer.paramGroups[0], group);
});

testOnBackends("a group added later starts its own momentum", (backend) => {
  const [a, b] = [parameter(0), parameter(0)];
  const optimizer = new SGD([a], { lr: 1, momentum: 0.5, dampening: 0.5, backend });
  optimizer.step();
  optimizer.addParamGroup({ params: [b] });
  optimizer.step();
  // a: b = 1, then 0.5 * 1 + 0.5 * 1; b: b = 1 without dampening
  assertEquals([a.data, b.data], [array(-2), array(-1)]);
  assertEquals(optimizer.paramGroups.length, 2);
  assertEquals([...optimizer.state.keys()], [a, b]);
});

testOnBackends("gradients and data may be replaced between steps", (backend) => {
  const w = parameter(1);
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend });
  optimizer.step();
  w.grad = array(2);
  const old = w.data;
  w.data = array(100);
  optimizer.step();
  assertEquals([old, w.data], [array(0), array(97.5)]);
});

testOnBackends("momentum that is switched on later starts with that step's gradient", (backend) => {
  const w = parameter(0);
  const optimizer = new SGD([w], { lr: 1, dampening: 0.5, backend });
  optimizer.step();
  assertEquals(optimizer.state.get(w), { momentumBuffer: null, masterWeight: null });
  optimizer.paramGroups[0].momentum = 0.5;
  optimizer.step();
  assertEquals(optimizer.state.get(w), { momentumBuffer: array(1), masterWeight: null });
});

testOnBackends("foreach true, false and null give the same numbers", (backend) => {
  const results = [true, false, null].map((foreach) => {
    const params = [parameter(1, 2), parameter(3), parameter(4)];
    const optimizer = new SGD(
      [{ params: params.slice(0, 1) }, { params: params.slice(1), foreach }],
      { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01, backend },
    );
    for (let i = 0; i < 3; i++) optimizer.step();
    return params.map(({ data }) => data);
  });
  assertEquals(results[1], results[0]);
  assertEquals(results[2], results[0]);
});

testOnBackends("float32, float64 and empty parameters step side by side", (backend) => {
  const half = { data: new Float64Array([1]), grad: new Float64Array([1 / 3]) };
  const params = [parameter(1), half, { data: array(), grad: array() }];
  new SGD(params, { lr: 1, momentum: 0.5, backend }).step();
  assertEquals(half.data, new Float64Array([1 - 1 / 3]));
  assertEquals(params[0].data, array(0));
});

testOnBackends("parameters in shared memory step in place", (backend) => {
  const data = new Float32Array(new SharedArrayBuffer(8)).fill(1);
  new SGD([{ data, grad: array(1, 2) }], { lr: 1, backend }).step();
  assertEquals([...data], [0, -1]);
});

testOnBackends("sgd steps the caller's lists and fills in momentum buffers", (backend) => {
  const params = [array(1), array(1), array(1)];
  const buffers = [null, array(2), null];
  const grads = [array(1), array(1), null];
  const options = { lr: 1, momentum: 0.5, dampening: 0.5, weightDecay: 0, backend } as const;
  sgd(params, grads, buffers, { ...options, nesterov: false, maximize: false });
  assertEquals(params, [array(0), array(-0.5), array(1)]);
  assertEquals(buffers, [array(1), array(1.5), null]);
  sgd(params, grads, buffers, { ...options, momentum: 0, nesterov: false, maximize: true });
  assertEquals(params, [array(1), array(0.5), array(1)]);
  assertEquals(buffers, [array(1), array(1.5), null]);
});

testOnBackends("small arrays stay in step while the collector runs", (backend) => {
  const params = Array.from({ length: 100 }, () => parameter(0, 0));
  const optimizer = new SGD(params, { lr: 1, momentum: 0, backend });
  for (let i = 0; i < 50; i++) {
    optimizer.step();
    for (const w of params) w.grad = array(1, 1); // makes garbage and new addresses
  }
  for (const { data } of params) assertEquals(data, array(-50, -50));
});

Deno.test("params may be any iterable, and what it holds is fixed then", () => {
  const list = [parameter(1)];
  const optimizer = new SGD(new Set(list), { lr: 1, backend: "js" });
  list.push(parameter(1));
  assertEquals(optimizer.paramGroups[0].params, list.slice(0, 1));
  assert(
    Object.isFrozen(optimizer.paramGroups) && Object.isFrozen(optimizer.paramGroups[0].params),
  );
});

Deno.test("foreach null and true are one call for all tensors, false is one for each", () => {
  const calls: [number, number][] = [];
  const { step } = js;
  js.step = (plan, from, to, call) => {
    calls.push([from, to]);
    step(plan, from, to, call);
  };
  try {
    const params = () => [parameter(1), parameter(2)];
    const groups = [
      { params: params() },
      { params: params(), foreach: true },
      { params: params(), foreach: false },
      { params: params(), foreach: null },
    ];
    new SGD(groups, { lr: 1, backend: "js" }).step();
    assertEquals(calls.splice(0), [[0, 4], [4, 5], [5, 6], [6, 8]]);
    const options = { lr: 1, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false };
    for (const [foreach, count] of [[null, 1], [true, 1], [false, 3]] as const) {
      const lists = [0, 1].map(() => [array(1), array(2), array(3)]);
      const all = { ...options, maximize: false, foreach, backend: "js" } as const;
      sgd(lists[0], lists[1], [null, null, null], all);
      assertEquals(calls.splice(0).length, count);
    }
  } finally {
    js.step = step;
  }
});

Deno.test("a step that failed does not make the next first step a later one", () => {
  const w = parameter(0);
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, dampening: 0.5, backend: "js" });
  const { step } = js;
  js.step = () => {
    throw new Error("planted");
  };
  try {
    assertThrows(() => optimizer.step(), Error, "planted");
  } finally {
    js.step = step;
  }
  w.grad = null;
  optimizer.step();
  assertEquals(optimizer.state.get(w), { momentumBuffer: null, masterWeight: null });
  w.grad = array(4);
  optimizer.step();
  assertEquals(w.data, array(-4)); // the whole gradient: no dampening on a first step
});

testOnBackends("a momentum buffer taken out of the state is not written again", (backend) => {
  const w = parameter(0);
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend });
  optimizer.step();
  const state = optimizer.state.get(w)! as { momentumBuffer: unknown };
  const saved = state.momentumBuffer;
  state.momentumBuffer = null;
  w.grad = array(7);
  optimizer.step();
  assertEquals([saved, state.momentumBuffer], [array(1), array(7)]);
});

Deno.test("where WebAssembly may not be compiled the js backend steps in a plain loop", async () => {
  const code = `
    WebAssembly.Module = function () { throw new WebAssembly.CompileError("forbidden"); };
    const { SGD } = await import("${new URL("../../mod.ts", import.meta.url)}");
    const w = { data: new Float32Array(100), grad: new Float32Array(100).fill(1) };
    new SGD([w], { lr: 1, backend: "js" }).step();
    console.log(w.data.every((x) => x === -1));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", code] }).output();
  assertEquals(new TextDecoder().decode(stdout).trim(), "true");
});

Deno.test("a settled step leaves nothing for the garbage collector", async () => {
  const code = `
    const { SGD } = await import("${new URL("../../mod.ts", import.meta.url)}");
    const one = () => ({ data: new Float32Array(10), grad: new Float32Array(10) });
    const [a, b, c] = [one(), one(), one()];
    const groups = [{ params: [a] }, { params: [b] }, { params: [c] }];
    const optimizer = new SGD(groups, { lr: 1, momentum: 0.9 });
    optimizer.step();
    optimizer.moveParameter(a, 1); // groups that have changed settle too
    optimizer.removeParamGroup(2);
    for (let i = 0; i < 300_000; i++) {
      optimizer.step();
      if (i === 100_000) console.log("settled");
    }`;
  const args = ["eval", "--v8-flags=--trace-gc", code];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
  const settled = new TextDecoder().decode(stdout).split("settled")[1];
  const collections = settled.match(/Scavenge|Mark-Compact/g)?.length ?? 0;
  // Each collection frees about a megabyte: 10 of them are under 50 bytes per step, which is what
  // numbers cost before the code is optimized. One object per tensor would be over 30.
  assert(collections <= (cpuMissing === null ? 10 : 1000), settled);
});
