/** Loading state dicts: what is matched with what, and what it does. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { StateDict } from "@descent/sgd";
import { dictOf, firstOfBuffers, group, named, optimizerOf, unnamed } from "./dicts.ts";

Deno.test("a dict of torch's own shape is loaded, its other keys left out", () => {
  const optimizer = optimizerOf(unnamed(2, 2));
  optimizer.loadStateDict({
    state: { 0: { momentum_buffer: Float32Array.of(1, 2) }, 1: { momentum_buffer: null } },
    param_groups: [{
      lr: 0.25,
      momentum: 0.5,
      dampening: 0,
      weight_decay: 0.125,
      nesterov: true,
      maximize: true,
      foreach: null,
      differentiable: false,
      fused: null,
      initial_lr: 0.5,
      params: [0, 1],
    }],
  });
  const { params: _, ...values } = optimizer.paramGroups[0];
  assertEquals(values, {
    lr: 0.25,
    momentum: 0.5,
    dampening: 0,
    weightDecay: 0.125,
    nesterov: true,
    maximize: true,
    foreach: null,
    differentiable: false,
    sign: false,
    decoupledWeightDecay: false,
    momentumBits: 32,
  });
  assertEquals(firstOfBuffers(optimizer), [1, null]);
});

Deno.test("an absent buffer and a null one mean 'not stepped yet': the next step is a first one", () => {
  for (const state of [{}, { 0: {} }, { 0: { momentum_buffer: null } }] as StateDict["state"][]) {
    const [w] = named("w");
    const optimizer = optimizerOf([w]);
    optimizer.step();
    optimizer.loadStateDict({ state, param_groups: [group([0], ["w"], { dampening: 0.5 })] });
    assertEquals(firstOfBuffers(optimizer), [null]);
    optimizer.step(); // a first step is not dampened
    assertEquals(firstOfBuffers(optimizer), [1]);
  }
});

Deno.test("keys that newer releases added get their defaults, not what was there", () => {
  const optimizer = new SGD(named("w"), {
    lr: 0.1,
    momentum: 0.5,
    nesterov: true,
    maximize: true,
    foreach: false,
    sign: true,
    decoupledWeightDecay: true,
  });
  optimizer.loadStateDict(dictOf(group([0])));
  const { nesterov, maximize, foreach, differentiable, sign, decoupledWeightDecay } =
    optimizer.paramGroups[0];
  assertEquals(
    { nesterov, maximize, foreach, differentiable, sign, decoupledWeightDecay },
    {
      ...{ nesterov: false, maximize: false, foreach: null, differentiable: false, sign: false },
      decoupledWeightDecay: false,
    },
  );
});

Deno.test("groups stay the objects that they were, and still take effect", () => {
  const [w] = named("w");
  const optimizer = optimizerOf([w]);
  const reference = optimizer.paramGroups[0];
  optimizer.loadStateDict(dictOf(group([0])));
  assertStrictEquals(optimizer.paramGroups[0], reference);
  assertEquals(reference.lr, 0.5);
  reference.lr = 0;
  optimizer.step();
  assertEquals(w.data, Float32Array.of(1, 2));
});

Deno.test("a step uses what was loaded, also after steps of its own", () => {
  const [w] = named("w");
  const optimizer = optimizerOf([w]);
  optimizer.step();
  w.data.set([1, 2]);
  optimizer.loadStateDict(dictOf(group([0], undefined, { momentum: 0.5 })));
  optimizer.step(); // buffer 0.5 * 1 + 1, data - 0.5 * 1.5
  assertEquals(firstOfBuffers(optimizer), [1.5]);
  assertEquals(w.data, Float32Array.of(0.25, 1.25));
});

Deno.test("the optimizer and the dict share no memory", () => {
  const optimizer = optimizerOf(named("w"));
  const dict = dictOf(group([0]));
  dict.parameters = { 0: { data: Float32Array.of(5, 6) } };
  const before = structuredClone(dict);
  optimizer.loadStateDict(dict, { parameters: true });
  optimizer.step();
  assertEquals(dict, before);
});

Deno.test("without names, parameters are matched in order, whatever their indices are", () => {
  const optimizer = optimizerOf(unnamed(2, 2), unnamed(2));
  optimizer.loadStateDict(dictOf(group([7, 3]), group([5], undefined, { lr: 0.25 })));
  assertEquals(firstOfBuffers(optimizer), [8, 4, 6]);
  assertEquals(optimizer.paramGroups.map(({ lr }) => lr), [0.5, 0.25]);
});

Deno.test("names on one side only do not matter", () => {
  const optimizer = optimizerOf(named("a", "b"));
  optimizer.loadStateDict(dictOf(group([0, 1])));
  assertEquals(firstOfBuffers(optimizer), [1, 2]);
  const other = optimizerOf(unnamed(2, 2));
  other.loadStateDict(dictOf(group([0, 1], ["b", "a"])));
  assertEquals(firstOfBuffers(other), [1, 2]);
});

Deno.test("with names on both sides, reordered parameters and groups find their own state", () => {
  const optimizer = optimizerOf(named("d"), named("c", "a", "b"));
  const report = optimizer.loadStateDict(
    dictOf(group([0, 1, 2], ["a", "b", "c"]), group([3], ["d"], { lr: 0.25 })),
  );
  assertEquals(firstOfBuffers(optimizer), [4, 3, 1, 2]);
  assertEquals(optimizer.paramGroups.map(({ lr }) => lr), [0.25, 0.5]);
  assertEquals(report, { missing: [], unexpected: [], mismatched: [], regrouped: [] });
});

Deno.test("a group without names is matched in order, and others of the dict by name", () => {
  const optimizer = optimizerOf(named("b", "a"), unnamed(2));
  optimizer.loadStateDict(dictOf(group([0, 1], ["a", "b"]), group([2])));
  assertEquals(firstOfBuffers(optimizer), [2, 1, 3]);
});

Deno.test("the buffer of a float64 parameter stays float64", () => {
  const w = { data: new Float64Array(1), grad: null };
  const optimizer = optimizerOf([w]);
  const buffer = Float64Array.of(0.1);
  optimizer.loadStateDict({
    state: { 0: { momentum_buffer: buffer } },
    param_groups: [group([0])],
  });
  assertEquals(optimizer.state.get(w)!.momentumBuffer, buffer);
});

Deno.test("a state that is loaded after a skipped first step is not lost with that step", () => {
  const w = { data: new Float32Array(1), grad: Float32Array.of(NaN), name: "w" };
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5 });
  optimizer.step({ checkFinite: true });
  optimizer.loadStateDict({
    state: { 0: { momentum_buffer: Float32Array.of(8) } },
    param_groups: [{ ...group([0]), momentum: 0.5 }],
  });
  w.grad[0] = 1;
  optimizer.step();
  assertEquals(optimizer.state.get(w)!.momentumBuffer, Float32Array.of(5));
});

Deno.test("parameters are loaded in place where that is asked for", () => {
  const [a, b] = named("a", "b");
  const arrays = [a.data, b.data];
  const optimizer = optimizerOf([a, b]);
  const dict = dictOf(group([0, 1], ["b", "a"]));
  dict.parameters = { 0: { data: Float32Array.of(5, 6) }, 1: { data: Float32Array.of(7, 8) } };
  optimizer.loadStateDict(dict);
  assertEquals(a.data, Float32Array.of(1, 2));
  optimizer.loadStateDict(dict, { parameters: true });
  assertEquals([a.data, b.data], [Float32Array.of(7, 8), Float32Array.of(5, 6)]);
  assert(a.data === arrays[0] && b.data === arrays[1]);
});
