/** 16-bit parameters in state dicts: what they hold, how a run resumes from them, and what does not fit. */

import { assertEquals, assertThrows } from "@std/assert";
import {
  BFloat16Array,
  CheckpointError,
  decodeStateDict,
  encodeStateDict,
  SGD,
} from "@descent/sgd";
import type { Parameter, SGDOptions, StateDict } from "@descent/sgd";

const HYPER = { lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, params: [0] };
const create = () => ({
  data: BFloat16Array.of(1, 2),
  grad: BFloat16Array.of(0.1, 0.3),
  name: "w",
});
const optimizerOf = (w: Parameter<BFloat16Array>, options: Partial<SGDOptions>) =>
  new SGD([w], { lr: 0.1, momentum: 0.9, ...options });

Deno.test("a dict has the seed and counter of stochastic rounding, and of no other", () => {
  for (const rounding of ["nearest", "torch", "stochastic"] as const) {
    const optimizer = optimizerOf(create(), { rounding, seed: 5 });
    optimizer.step();
    optimizer.step();
    const expected = rounding === "stochastic" ? { seed: 5, counter: 2 } : undefined;
    assertEquals(optimizer.stateDict().rounding, expected);
  }
});

Deno.test("a dict is a snapshot of master weights and counter", () => {
  const optimizer = optimizerOf(create(), { rounding: "stochastic", masterWeights: true });
  optimizer.step();
  const dict = optimizer.stateDict({ parameters: true });
  const saved = structuredClone(dict.state);
  optimizer.step();
  assertEquals(dict.state, saved);
  assertEquals(dict.rounding, { seed: 0, counter: 1 });
});

Deno.test("another optimizer goes on from a dict with the same bits", () => {
  const create = () => {
    const data = BFloat16Array.from(Array.from({ length: 100 }, (_, i) => 1 + i / 7));
    return { data, grad: data.slice(), name: "w" };
  };
  for (const rounding of ["nearest", "stochastic"] as const) {
    const whole = create();
    const optimizer = optimizerOf(whole, { rounding, masterWeights: true, seed: 2 ** 40 });
    const step = (each: typeof optimizer) => [1, 2, 3].forEach(() => each.step());
    step(optimizer);
    const dict = optimizer.stateDict({ parameters: true });
    step(optimizer);
    const part = create();
    const other = optimizerOf(part, { rounding, masterWeights: true });
    other.loadStateDict(dict, { parameters: true });
    step(other);
    assertEquals(other.state.get(part), optimizer.state.get(whole));
    assertEquals(part.data, whole.data);
  }
});

Deno.test("a dict without master weights has them made from the parameters", () => {
  const w = create();
  const optimizer = optimizerOf(w, { masterWeights: true });
  optimizer.step();
  const dict = optimizer.stateDict();
  delete dict.state[0].master_weight;
  optimizer.loadStateDict(dict);
  assertEquals(optimizer.state.get(w)!.masterWeight, null);
  const before = w.data.toFloat32Array();
  w.grad.fill(0);
  optimizer.paramGroups[0].momentum = 0;
  optimizer.step();
  assertEquals(optimizer.state.get(w)!.masterWeight, before);
});

Deno.test("a dict without seed and counter leaves both as they are", () => {
  const optimizer = optimizerOf(create(), { rounding: "stochastic", seed: 5 });
  optimizer.step();
  optimizer.loadStateDict({ state: {}, param_groups: [HYPER] });
  assertEquals(optimizer.stateDict().rounding, { seed: 5, counter: 1 });
});

/** A state, the optimizer that it does not fit, and why. */
const MISFITS: Record<string, [StateDict["state"][string], Partial<SGDOptions>, string]> = {
  "a 16-bit buffer for rounding once": [
    { momentum_buffer: BFloat16Array.of(1, 2) },
    {},
    '"w" is bfloat16, with a momentum buffer of float32, but its momentum buffer in the dict: bfloat16',
  ],
  "a float32 buffer for torch's rounding": [
    { momentum_buffer: Float32Array.of(1, 2) },
    { rounding: "torch" },
    '"w" is bfloat16, but its momentum buffer in the dict: float32',
  ],
  "a master weight where there is none": [
    { momentum_buffer: Float32Array.of(1, 2), master_weight: Float32Array.of(1, 2) },
    {},
    '"w" has no master weight, but there is one in the dict',
  ],
  "a master weight of another length": [
    { master_weight: Float32Array.of(1, 2, 3) },
    { masterWeights: true },
    '"w" has length 2, but its master weight in the dict: 3',
  ],
};

for (const [what, [state, options, text]] of Object.entries(MISFITS)) {
  Deno.test(`does not fit, and nothing changes: ${what}`, () => {
    const w = create();
    const optimizer = optimizerOf(w, { ...options, seed: 1 });
    optimizer.step();
    const before = optimizer.stateDict({ parameters: true });
    const dict = { state: { 0: state }, param_groups: [{ ...HYPER, param_names: ["w"] }] };
    const load = () => optimizer.loadStateDict({ ...dict, rounding: { seed: 2, counter: 9 } });
    assertThrows(load, RangeError, text);
    assertEquals(optimizer.stateDict({ parameters: true }), before);
    assertEquals(optimizer.loadStateDict(dict, { strict: false }).mismatched, ["w"]);
  });
}

Deno.test("a master weight that is no float32 and a state of rounding that is none are errors", () => {
  const load = (more: object) => () =>
    optimizerOf(create(), { masterWeights: true }).loadStateDict({
      ...{ state: {}, param_groups: [HYPER], ...more },
    });
  const cases: [object, string][] = [
    [{ state: { 0: { master_weight: new Float64Array(2) } } }, "must be a Float32Array"],
    [{ rounding: 1 }, "rounding must be a plain object"],
    [{ rounding: { seed: 1 } }, "Cannot set counter as it must be a number"],
    [{ rounding: { seed: 1, counter: -1 } }, "counter as it must be a whole number"],
    [{ rounding: { seed: 1, counter: 1, mode: 2 } }, "rounding.mode is not a state of SGD"],
  ];
  for (const [more, text] of cases) assertThrows(load(more), Error, text);
});

/** A file with its header changed. */
function edited(dict: StateDict, edit: (header: string) => string): Uint8Array {
  const bytes = encodeStateDict(dict);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = edit(new TextDecoder().decode(bytes.subarray(8, 8 + length))).trimEnd();
  const head = new TextEncoder().encode(header.padEnd(length));
  const whole = new Uint8Array(8 + head.length + bytes.length - 8 - length);
  new DataView(whole.buffer).setBigUint64(0, BigInt(head.length), true);
  whole.set(head, 8);
  whole.set(bytes.subarray(8 + length), 8 + head.length);
  return whole;
}

Deno.test("files that lie about rounding and master weights are refused, with the place named", () => {
  const dict: StateDict = {
    state: {
      0: {
        momentum_buffer: new Float32Array(4),
        master_weight: new Float32Array(4),
        shape: [2, 2],
      },
    },
    param_groups: [HYPER],
    rounding: { seed: 1, counter: 2 },
  };
  assertEquals(decodeStateDict(edited(dict, (header) => header)), dict);
  const cases: [from: string, to: string, text: string][] = [
    ['{\\"seed\\":1', '{\\"seed\\":1.5', "its rounding is not valid: Cannot set seed"],
    ['{\\"seed\\":1,', "{", "its rounding is not valid"],
    ['{\\"seed\\":1', "[1", "rounding"],
    [
      'master_weight":{"dtype":"F32","shape":[2,2]',
      'master_weight":{"dtype":"F16","shape":[2,4]',
      "state.0.master_weight",
    ],
    [
      'master_weight":{"dtype":"F32","shape":[2,2]',
      'master_weight":{"dtype":"F32","shape":[4]',
      "must have the shape of the other state of its parameter",
    ],
  ];
  for (const [from, to, text] of cases) {
    const bytes = edited(dict, (header) => {
      assertEquals(header.split(from).length, 2, from);
      return header.replace(from, to);
    });
    assertThrows(() => decodeStateDict(bytes), CheckpointError, text);
  }
});
