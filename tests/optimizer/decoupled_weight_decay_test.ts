/** Decoupled weight decay: what it multiplies, what does not see it, and what refuses it. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BFloat16Array,
  decodeStateDict,
  encodeStateDict,
  GradScaler,
  SGD,
  sgd,
} from "@descent/sgd";
import type { HostArray, Parameter, SGDOptions, SparseGrad } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { array } from "../support/faults.ts";

const ON = { lr: 0.5, weightDecay: 0.5, decoupledWeightDecay: true };

/** A parameter of ones and twos, and an optimizer of it. */
function make(options: Partial<SGDOptions>, grad = array(0, 0)) {
  const w = { data: array(1, 2), grad };
  return { w, optimizer: new SGD([w], { ...ON, ...options }) };
}

testOnBackends("the parameter is multiplied, and momentum does not see it", (backend) => {
  const { w, optimizer } = make({ momentum: 0.5, backend }, array(1, -1));
  optimizer.step();
  assertEquals(w.data, array(0.75 - 0.5, 1.5 + 0.5));
  assertEquals(optimizer.state.get(w)!.momentumBuffer, array(1, -1));
  w.grad = array(0, 0);
  optimizer.step();
  assertEquals(w.data, array(0.75 * 0.25 - 0.25, 0.75 * 2 + 0.25));
  assertEquals(optimizer.state.get(w)!.momentumBuffer, array(0.5, -0.5));
});

testOnBackends("sign, maximize and clipping leave the decay as it is", async (backend) => {
  for (const flags of [{ sign: true }, { maximize: true }, { sign: true, maximize: true }]) {
    const { w, optimizer } = make({ ...flags, backend });
    optimizer.step();
    assertEquals(w.data, array(0.75, 1.5));
  }
  for (const request of [{ maxNorm: 0 }, { maxValue: 0 }, { gradScale: 4, maxNorm: 0 }]) {
    const { w, optimizer } = make({ backend }, array(3, 4));
    optimizer.step(request);
    assertEquals(w.data, array(0.75, 1.5));
    await optimizer.stepAsync(request);
    assertEquals(w.data, array(0.5625, 1.125));
  }
});

testOnBackends("a step that is skipped does not decay, nor does a null gradient", (backend) => {
  const { w, optimizer } = make({ backend }, array(Infinity, 0));
  new GradScaler().step(optimizer);
  optimizer.step({ checkFinite: true });
  assertEquals(w.data, array(1, 2));
  const v: Parameter = { data: array(1), grad: null };
  new SGD([v], { ...ON, backend }).step();
  assertEquals(v.data, array(1));
});

testOnBackends("the factor is computed in float64 and rounded once, at every length", (backend) => {
  assert(Math.fround(1 - 0.1 * 0.3) !== Math.fround(1 - Math.fround(0.1) * Math.fround(0.3)));
  for (const type of [Float32Array, Float64Array]) {
    for (const length of [1, 63, 64, 65, 5000, 70_001]) {
      const data = new type(length).map((_, i) => Math.sin(i + 1));
      const factor = type.of(1 - 0.1 * 0.3)[0];
      const expected = data.map((x: number) => factor * x);
      const w = { data, grad: new type(length) };
      new SGD([w], { ...ON, lr: 0.1, weightDecay: 0.3, backend }).step();
      assertEquals(w.data, expected);
    }
  }
});

testOnBackends("the factor follows lr, and may be 0 or negative", (backend) => {
  const { w, optimizer } = make({ backend });
  for (const [lr, expected] of [[0, 1], [0.25, 0.875], [2, 0], [4, -0]]) {
    optimizer.paramGroups[0].lr = lr;
    optimizer.step();
    assertEquals(w.data[0], expected);
  }
  const { w: v, optimizer: other } = make({ lr: 4, backend });
  other.step();
  assertEquals(v.data, array(-1, -2));
});

testOnBackends("master weights are multiplied in float32, however they are kept", (backend) => {
  const factor = Math.fround(1 - 0.01 * 0.01);
  for (const masterWeights of [true, "split", "split24"] as const) {
    for (const momentumBits of [8, 32] as const) {
      const w = { data: BFloat16Array.from(new Array(5000).fill(1)), grad: new Float32Array(5000) };
      const options = { momentum: 0.5, masterWeights, momentumBits, backend };
      const optimizer = new SGD<HostArray>([w], { ...ON, lr: 0.01, weightDecay: 0.01, ...options });
      let expected = 1;
      for (let n = 0; n < 30; n++) {
        optimizer.step();
        expected = Math.fround(expected * factor);
      }
      const near = masterWeights === "split24" ? 30 * 2 ** -16 : 0;
      const masters = optimizer.state.get(w)!.readMasterWeight()!;
      assert(
        masters.every((x) => Math.abs(x - expected) <= near),
        `${masterWeights} ${masters[0]}`,
      );
    }
  }
});

testOnBackends("the option can be assigned, and belongs to its group", (backend) => {
  const [a, b] = [{ data: array(2), grad: array(1) }, { data: array(2), grad: array(1) }];
  const groups = [{ params: [a] }, { params: [b], decoupledWeightDecay: false }];
  const optimizer = new SGD(groups, { ...ON, backend });
  optimizer.step();
  assertEquals([a.data[0], b.data[0]], [1.5 - 0.5, 2 - 0.5 * 2]);
  optimizer.paramGroups[0].decoupledWeightDecay = false;
  optimizer.step();
  assertEquals(a.data[0], 1 - 0.5 * 1.5);
});

testOnBackends("sgd has the option", (backend) => {
  const [w, buffers] = [array(1, 2), [null]];
  const off = { dampening: 0, nesterov: false, maximize: false };
  sgd([w], [array(0, 0)], buffers, { ...ON, ...off, momentum: 0.5, backend });
  assertEquals([w, buffers], [array(0.75, 1.5), [array(0, 0)]]);
});

testOnBackends("with a sparse gradient it is refused, and nothing changes", (backend) => {
  const grad: SparseGrad = { indices: new Int32Array([0]), values: array(1), shape: [2, 1] };
  const w = { data: array(1, 2), grad };
  const optimizer = new SGD([w], { ...ON, backend });
  assertThrows(() => optimizer.step(), RangeError, "a sparse gradient needs weightDecay 0");
  assertEquals(w.data, array(1, 2));
});

testOnBackends("a factor that the type cannot hold is refused, and nothing changes", (backend) => {
  const { w, optimizer } = make({ lr: 1e20, weightDecay: 1e20, backend });
  const text = "Cannot step parameter 0 as weightDecay must be such that a float32 holds";
  assertThrows(() => optimizer.step(), RangeError, text);
  assertEquals(w.data, array(1, 2));
  Object.assign(optimizer.paramGroups[0], { lr: 1e-40, weightDecay: 5e39 }); // only the factor counts
  optimizer.step();
  assertEquals(w.data, array(0.5, 1));
  const double = { data: Float64Array.of(1), grad: Float64Array.of(0) };
  new SGD([double], { ...ON, lr: 1e20, weightDecay: 1e20, backend }).step();
  assertEquals(double.data, Float64Array.of(1 - 1e40));
});

Deno.test("state dicts have the option where it is on, and loading one sets it", () => {
  const { optimizer } = make({});
  const dict = optimizer.stateDict();
  assertEquals(dict.param_groups[0].decoupled_weight_decay, true);
  const off = make({ decoupledWeightDecay: false }).optimizer;
  const { param_groups } = off.stateDict();
  assertEquals("decoupled_weight_decay" in param_groups[0], false);
  off.loadStateDict(decodeStateDict(encodeStateDict(dict)));
  assertEquals(off.paramGroups[0].decoupledWeightDecay, true);
  off.loadStateDict({ state: {}, param_groups });
  assertEquals(off.paramGroups[0].decoupledWeightDecay, false);
  const [group] = dict.param_groups;
  const bad = { state: {}, param_groups: [{ ...group, decoupled_weight_decay: 1 as never }] };
  assertThrows(() => off.loadStateDict(bad), TypeError, "decoupledWeightDecay");
});
