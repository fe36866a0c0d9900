/** State in fewer bytes that the user has assigned, transferred or outgrown. */

import { assertEquals, assertThrows } from "@std/assert";
import { BFloat16Array, SGD, sgd } from "@descent/sgd";
import type { HostArray, Parameter, SGDOptions } from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";
import { createParams, noise } from "./twin.ts";

const OPTIONS: SGDOptions = { lr: 0.01, momentum: 0.9, weightDecay: 0.001, seed: 3 };
const SPLIT: SGDOptions = { ...OPTIONS, momentumBits: 8, masterWeights: "split24" };

function create(options: SGDOptions) {
  const params = createParams("bfloat16");
  return { params, optimizer: new SGD<HostArray>(params, options) };
}

testOnBackends("a correction outlives a skipped step with other data", (backend) => {
  for (const isReturned of [false, true]) {
    const { params, optimizer } = create({ ...OPTIONS, masterWeights: "split", backend });
    optimizer.step();
    const [w, other] = params;
    const { correction } = optimizer.state.get(w)!;
    const before = correction!.slice();
    const { data, grad } = w;
    const gradOfOther = other.grad;
    w.data = BFloat16Array.from(noise(data.length, 8));
    other.grad = BFloat16Array.from(new Float32Array(100).fill(NaN));
    optimizer.step({ checkFinite: true });
    other.grad = gradOfOther;
    if (isReturned) w.data = data;
    w.grad = null;
    optimizer.step(); // the other parameters alone
    assertEquals(correction, before);
    w.data = data;
    assertEquals(optimizer.stateDict().state[0].correction, before);
    w.grad = grad;
  }
});

testOnBackends("momentum whose memory has been transferred is not read", (backend) => {
  for (const momentumBits of [8, 32] as const) {
    const { params, optimizer } = create({ ...OPTIONS, momentumBits, backend });
    optimizer.step();
    const state = optimizer.state.get(params[0])!;
    const { buffer } = state.momentum8?.values ?? state.momentumBuffer as Float32Array;
    (buffer as ArrayBuffer).transfer();
    assertThrows(() => state.readMomentum(), TypeError, "the momentum as its buffer is detached");
    Object.assign(state, momentumBits === 8 ? { momentum8: 5 } : { momentumBuffer: 5 });
    assertThrows(() => state.readMomentum(), TypeError, "Cannot use the momentum as");
  }
});

/** What a state is assigned, by the options of the optimizer, and what is wrong with it. */
const ASSIGNED: [options: Partial<SGDOptions>, assigned: object, text: string][] = [
  [
    { masterWeights: "split" },
    { masterWeight: new Float32Array(4133) },
    'it must be null with masterWeights "split"',
  ],
  [{}, { masterWeight: new Float32Array(4133) }, "must be null with masterWeights false"],
  [{ masterWeights: true }, { masterWeight: new Float64Array(4133) }, "must be a Float32Array"],
  [{ masterWeights: "split24" }, { correction: new Int16Array(4133) }, "must be an Int8Array"],
  [{ masterWeights: "split" }, { correction: 5 }, "must be an Int16Array: current value is 5"],
  [{ momentumBits: 8 }, { momentumBuffer: new Float32Array(4133) }, "null with momentumBits 8"],
  [
    { momentumBits: 8 },
    { momentumBuffer: new Float32Array(4133), momentum8: null },
    "it must be null with momentumBits 8",
  ],
  [{ momentumBits: 8 }, { momentum8: 5 }, "it must be the optimizer's own: current value is 5"],
];

testOnBackends("a state that no optimizer could load is not saved", (backend) => {
  for (const [options, assigned, text] of ASSIGNED) {
    const { params, optimizer } = create({ ...OPTIONS, ...options, backend });
    optimizer.step();
    Object.assign(optimizer.state.get(params[0])!, assigned);
    assertThrows(() => optimizer.stateDict(), TypeError, text);
  }
  const { params, optimizer } = create({ ...OPTIONS, momentumBits: 8, backend });
  optimizer.step();
  optimizer.state.get(params[0])!.momentum8!.scales[3] = 255;
  const text = 'scales of the 8-bit momentum of parameter 0 ("w0") must be 0 or from 18 to 248: ' +
    "current value is 255 at 3";
  assertThrows(() => optimizer.stateDict(), RangeError, text);
});

testOnBackends("data that have become too short for 8 bits say so", (backend) => {
  const w: Parameter = { data: noise(8192, 0), grad: noise(8192, 1) };
  const optimizer = new SGD([w], { ...OPTIONS, momentumBits: 8, backend });
  optimizer.step();
  Object.assign(w, { data: noise(4000, 0), grad: noise(4000, 1) });
  const text = "as it needs at least 4096 elements: current length is 4000";
  assertThrows(() => optimizer.step(), TypeError, text);
  optimizer.loadStateDict({ ...optimizer.stateDict(), state: {} });
  optimizer.step();
  assertEquals(optimizer.state.get(w)!.momentumBuffer!.length, 4000);
});

Deno.test("momentumBits null is refused by optimizers, groups and the function", () => {
  const momentumBits = null as unknown as 8;
  const [data, grad] = [noise(8, 0), noise(8, 1)];
  const all = {
    ...{ lr: 0.01, momentum: 0.9, weightDecay: 0, dampening: 0, nesterov: false, maximize: false },
    momentumBits,
  };
  const acts = [
    () => new SGD([{ data, grad }], { ...OPTIONS, momentumBits }),
    () => new SGD([{ params: [{ data, grad }], momentumBits }], OPTIONS),
    () => sgd([data], [grad], [null], all),
  ];
  for (const act of acts) assertThrows(act, TypeError, "Cannot set momentumBits");
});

testOnBackends("after the last number of a step that dicts may have comes 0", (backend) => {
  const { optimizer } = create({ ...SPLIT, backend });
  const { MAX_SAFE_INTEGER } = Number;
  const rounding = { seed: 3, counter: MAX_SAFE_INTEGER };
  optimizer.loadStateDict({ ...optimizer.stateDict(), rounding });
  optimizer.step();
  assertEquals(optimizer.stateDict().rounding, { seed: 3, counter: 0 });
  optimizer.loadStateDict(optimizer.stateDict());
});
