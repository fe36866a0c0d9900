/** What `encodeStateDict` writes and `decodeStateDict` gives back. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BFloat16Array,
  CheckpointError,
  decodeStateDict,
  encodeStateDict,
  SGD,
} from "@descent/sgd";
import type { HostArray, StateDict } from "@descent/sgd";

const GROUP = { lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0 };

/** Both dtypes, shapes, names, notes, a parameter that has not stepped, and values at the edges. */
function example(): StateDict {
  return {
    state: {
      "0": { momentum_buffer: Float32Array.of(0.1, -0, 1e-45, NaN, Infinity, 3e38), shape: [2, 3] },
      "10": { momentum_buffer: Float64Array.of(0.1, -0, 5e-324), shape: [3, 1] },
      "2": { momentum_buffer: new Float32Array(0), shape: [0, 4] },
      "4": { momentum_buffer: BFloat16Array.of(0.1, -0, NaN), master_weight: new Float32Array(3) },
      "5": { master_weight: Float32Array.of(0.1, -0), shape: [2, 1] },
      "6": {
        momentum8: Int8Array.from({ length: 66 }, (_, i) => i - 128),
        momentum_scales: Uint8Array.of(0, 18, 248),
        correction: Int16Array.from({ length: 66 }, (_, i) => i * 1000 - 32768),
        shape: [6, 11],
      },
      "7": { correction: Int8Array.of(-128, 0, 127) },
      "3": { momentum_buffer: Float64Array.of(Math.PI), shape: [] },
    },
    param_groups: [
      {
        ...GROUP,
        nesterov: true,
        params: [10, 0, 1],
        param_names: ["__proto__", "é 😀", "state.7"],
      },
      {
        ...GROUP,
        lr: -0,
        foreach: false,
        initial_lr: 0.1,
        fused: null,
        mode: "x",
        momentum_bits: 8,
        params: [2, 3, 4, 5, 6, 7],
        param_names: [null, "three", null, null, null, null],
      },
    ],
    parameters: {
      "0": { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2, 3] },
      "2": { data: new Float32Array(0), shape: [0, 4] },
      "4": { data: BFloat16Array.of(1e30, 2 ** -133, -Infinity) },
      "5": { data: Float16Array.of(65504, -(2 ** -24)), shape: [2, 1] },
      "10": { data: Float64Array.of(1, 2, 3), shape: [3, 1] },
    },
    rounding: { seed: 2 ** 53 - 1, counter: 12 },
    lr_scheduler: {
      last_epoch: 7,
      base_lrs: [0.1, -0],
      _last_lr: [1 / 3, 5e-324],
      best: -1e300,
      num_bad_epochs: 2,
      cooldown_counter: 0,
      ["__proto__"]: "text",
      T_max: 9,
    },
    grad_scaler: {
      scale: Math.fround(0.1),
      growth_factor: 2,
      backoff_factor: 1 / 3,
      growth_interval: 2000,
      _growth_tracker: 0,
    },
    metadata: { epoch: "3", ["__proto__"]: "text", "": 'quotes " and\nlines' },
  };
}

/** Header and metadata of a file, read without Descent. */
function headerOf(bytes: Uint8Array) {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const { __metadata__: metadata, ...tensors } = header;
  return { length, metadata, tensors };
}

Deno.test("everything that a dict holds comes back, bit for bit", () => {
  const dict = example();
  const decoded = decodeStateDict(encodeStateDict(dict));
  assertEquals(decoded, dict);
  assert(Object.is(decoded.param_groups[1].lr, -0));
  assert(Object.is(decoded.lr_scheduler!.base_lrs![1], -0));
  const bytes = (array: HostArray | Int8Array) => new Uint8Array(array.buffer);
  for (const [index, { shape: _, ...arrays }] of Object.entries(dict.state)) {
    const found = decoded.state[index] as Record<string, HostArray>;
    for (const [key, array] of Object.entries(arrays)) {
      assertEquals(bytes(found[key]), bytes(array as HostArray));
    }
  }
  for (const [index, { data }] of Object.entries(dict.parameters!)) {
    assertEquals(bytes(decoded.parameters![index].data), bytes(data));
  }
});

Deno.test("the state of an optimizer comes back, and a null buffer as none", () => {
  const params = [2, 3].map((length) => ({
    data: new Float32Array(length),
    grad: new Float32Array(length).fill(0.1),
    name: `w${length}`,
  }));
  const optimizer = new SGD(params, { lr: 1 / 3, momentum: 0.9 });
  optimizer.step();
  const dict = optimizer.stateDict({ parameters: true });
  assertEquals(decodeStateDict(encodeStateDict(dict)), dict);
  dict.state[0].momentum_buffer = null;
  assertEquals(Object.keys(decodeStateDict(encodeStateDict(dict)).state), ["1"]);
});

const EXACT = [0, -0, 0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, Number.MAX_VALUE, 2 ** 53 + 2];

for (const value of EXACT) {
  Deno.test(`the hyperparameter ${Object.is(value, -0) ? "-0" : value} survives exactly`, () => {
    const dict = { state: {}, param_groups: [{ ...GROUP, lr: value, params: [0] }] };
    const { lr } = decodeStateDict(encodeStateDict(dict)).param_groups[0];
    assert(Object.is(lr, value), `${lr} for ${value}`);
  });
}

Deno.test("the same state gives the same bytes, in whatever order its keys were set", () => {
  const reversed = <T extends object>(value: T): T =>
    Object.fromEntries(Object.entries(value).reverse()) as T;
  const dict = example();
  const other = reversed({
    ...dict,
    state: reversed(dict.state),
    param_groups: dict.param_groups.map((group) => reversed(group)),
    parameters: reversed(dict.parameters!),
    lr_scheduler: reversed(dict.lr_scheduler!),
    grad_scaler: reversed(dict.grad_scaler!),
    metadata: reversed(dict.metadata!),
  });
  assertEquals(encodeStateDict(other), encodeStateDict(dict));
  assertEquals(encodeStateDict(decodeStateDict(encodeStateDict(dict))), encodeStateDict(dict));
});

Deno.test("a file says what it is, and calls tensors by the names that are documented", () => {
  const bytes = encodeStateDict(example());
  const { length, metadata, tensors } = headerOf(bytes);
  assertEquals(length % 8, 0);
  assertEquals([metadata.format, metadata.version], ["descent-sgd-state", "3"]);
  assertEquals(Object.keys(tensors), [
    "__proto__",
    "state.10.momentum_buffer",
    "state.3.momentum_buffer",
    "param.2",
    "state.0.momentum_buffer",
    "state.2.momentum_buffer",
    "state.4.master_weight",
    "state.5.master_weight",
    "é 😀",
    "param.4",
    "param.5",
    "state.4.momentum_buffer",
    "state.6.correction",
    "state.6.momentum8",
    "state.6.momentum_scales",
    "state.7.correction",
  ]);
  assertEquals([tensors["param.4"].dtype, tensors["param.5"].dtype], ["BF16", "F16"]);
  const coded = ["6.correction", "7.correction", "6.momentum8", "6.momentum_scales"]
    .map((name) => tensors[`state.${name}`]);
  assertEquals(coded.map(({ dtype }) => dtype), ["I16", "I8", "I8", "U8"]);
  assertEquals(coded.map(({ shape }) => shape), [[6, 11], [3], [6, 11], [3]]);
  assertEquals(tensors["é 😀"], { dtype: "F32", shape: [2, 3], data_offsets: [100, 124] });
  assertEquals(JSON.parse(metadata.param_groups)[0], example().param_groups[0]);
  assertEquals(JSON.parse(metadata.rounding), example().rounding);
});

const coded = { momentum8: new Int8Array(1), momentum_scales: new Uint8Array(1) };
const VERSIONS: [string, object, string][] = [
  ["momentum of float32", { 0: { momentum_buffer: new Float32Array(1) } }, "2"],
  ["a master weight", { 0: { master_weight: new Float32Array(1) } }, "2"],
  ["momentum in 8 bits", { 0: coded }, "3"],
  ["a correction", { 0: { correction: new Int8Array(1) } }, "3"],
];

for (const [what, state, version] of VERSIONS) {
  Deno.test(`a file with ${what} is of version ${version}`, () => {
    const dict = { state, param_groups: [{ ...GROUP, params: [0] }] } as StateDict;
    assertEquals(headerOf(encodeStateDict(dict)).metadata.version, version);
  });
}

Deno.test("what version 2 can hold has the bytes that releases without version 3 wrote", async () => {
  const dict: StateDict = {
    state: {
      "0": { momentum_buffer: Float32Array.of(0.1, -0, 1e-45, 3, Infinity, 3e38), shape: [2, 3] },
      "1": { momentum_buffer: Float64Array.of(0.1), shape: [] },
      "2": { momentum_buffer: BFloat16Array.of(0.1, -0), master_weight: Float32Array.of(0.1, -0) },
    },
    param_groups: [
      { ...GROUP, nesterov: true, params: [1, 0], param_names: ["é", null] },
      { ...GROUP, fused: null, initial_lr: 0.5, params: [2, 3] },
    ],
    parameters: {
      "1": { data: Float64Array.of(1), shape: [] },
      "3": { data: Float32Array.of(1, 2) },
    },
    rounding: { seed: 5, counter: 12 },
    lr_scheduler: { last_epoch: 7, base_lrs: [0.1, 1], _last_lr: [0.5, 0.25] },
    grad_scaler: {
      scale: 1024,
      growth_factor: 2,
      backoff_factor: 0.5,
      growth_interval: 2000,
      _growth_tracker: 0,
    },
    metadata: { epoch: "3" },
  };
  const digest = await crypto.subtle.digest("SHA-256", encodeStateDict(dict) as BufferSource);
  // Of the bytes that the last revision before version 3 wrote.
  assertEquals(
    new Uint8Array(digest).toHex(),
    "983cb43c34fcc87c3193df85c16347d1a4d1feae3cd3eb22276121f6670698fc",
  );
});

Deno.test("a file of a group with momentum in 8 bits that has not stepped is of version 3", () => {
  const dict = { state: {}, param_groups: [{ ...GROUP, momentum_bits: 8, params: [0] }] };
  assertEquals(headerOf(encodeStateDict(dict)).metadata.version, "3");
  assertEquals(decodeStateDict(encodeStateDict(dict)), dict);
});

Deno.test("decoded arrays are not part of the bytes", () => {
  const dict = example();
  const bytes = encodeStateDict(dict);
  const decoded = decodeStateDict(bytes);
  bytes.fill(0xff);
  assertEquals(decoded, dict);
});

Deno.test("bytes inside a larger buffer are decoded wherever they lie", () => {
  const bytes = encodeStateDict(example());
  for (const offset of [1, 4, 7]) {
    const larger = new Uint8Array(bytes.length + 16);
    larger.set(bytes, offset);
    assertEquals(decodeStateDict(larger.subarray(offset, offset + bytes.length)), example());
  }
});

const stray = { momentum_buffer: new Float32Array(1) };
const one = { data: Float32Array.of(1) };
const UNWRITABLE: [string, object, string][] = [
  ["state of no group", { state: { 5: stray } }, "no group has the parameters 5"],
  [
    "two parameters of one name",
    { ...groupOf(["a", "a"]), parameters: { 0: one, 1: one } },
    'the names of tensors must differ: "a"',
  ],
  [
    "a parameter called like a buffer",
    { ...groupOf(["state.1.momentum_buffer", "b"]), parameters: { 0: one } },
    'the names of tensors must differ: "state.1.momentum_buffer"',
  ],
  [
    "a parameter called __metadata__",
    { ...groupOf(["__metadata__", "b"]), parameters: { 0: one } },
    'no parameter may be called "__metadata__"',
  ],
  [
    "a note under a key of Descent's",
    { metadata: { version: "9" } },
    "metadata.version is Descent's",
  ],
  [
    "a note under the key of the scheduler",
    { metadata: { lr_scheduler: "{}" } },
    "metadata.lr_scheduler is Descent's",
  ],
  [
    "a note under the key of the scaler",
    { metadata: { grad_scaler: "{}" } },
    "metadata.grad_scaler is Descent's",
  ],
  ["a scaler's state without a scale", { grad_scaler: {} }, "grad_scaler.scale must be"],
  ["the state of torch's disabled scaler", { grad_scaler: {} }, "disabled (enabled=False)"],
  ["a scheduler's state without a step", { lr_scheduler: { _last_lr: [] } }, "last_epoch must be"],
  [
    "a scheduler's state with a list of its own",
    { lr_scheduler: { last_epoch: 0, _last_lr: [], milestones: [1] } },
    "lr_scheduler.milestones must be a string, a finite number, true, false or null",
  ],
  ["a note with a lone surrogate", { metadata: { a: "\ud800" } }, "without lone surrogates"],
  [
    "an infinite number",
    { param_groups: [{ ...GROUP, other: Infinity, params: [] }] },
    "other must",
  ],
  ["a nested value", { param_groups: [{ ...GROUP, betas: [1, 2], params: [] }] }, "betas must be"],
  ["no lr", { param_groups: [{ ...GROUP, lr: undefined, params: [] }] }, "param_groups[0].lr"],
];

function groupOf(param_names: string[]) {
  return { param_groups: [{ ...GROUP, params: param_names.map((_, i) => i), param_names }] };
}

for (const [name, more, message] of UNWRITABLE) {
  Deno.test(`a dict with ${name} is not encoded`, () => {
    const dict = { state: {}, param_groups: [], ...more } as StateDict;
    assertThrows(() => encodeStateDict(dict), TypeError, message);
  });
}

Deno.test("parameters may share a name as long as they are not in the file", () => {
  const dict = { state: { 0: stray }, ...groupOf(["a", "a"]) };
  assertEquals(decodeStateDict(encodeStateDict(dict)), dict);
});

Deno.test("a file of a newer version is refused with both versions named", () => {
  const bytes = encodeStateDict(example());
  const at = new TextDecoder("latin1").decode(bytes).indexOf('"version":"3"') + 11;
  bytes[at] = "7".charCodeAt(0);
  assertThrows(
    () => decodeStateDict(bytes),
    CheckpointError,
    "it has version 7 of its format, and this release of Descent knows versions up to 4",
  );
});

Deno.test("decodeStateDict refuses anything but a Uint8Array", () => {
  assertThrows(
    () => decodeStateDict("text" as unknown as Uint8Array),
    TypeError,
    'current value is "text"',
  );
});

Deno.test("groups of more keys and items than are read are not written", () => {
  const params = Array.from({ length: 1 << 21 }, (_, i) => i);
  const param_names = params.map(() => "w");
  const dict: StateDict = { state: {}, param_groups: [{ ...GROUP, params, param_names }] };
  assertThrows(() => encodeStateDict(dict), RangeError, "param_groups must have at most 4194304");
});

Deno.test("of a few tensors each has its own buffer, and many small ones of all dtypes come back", () => {
  for (const count of [1000, 3000]) {
    const state: StateDict["state"] = {};
    const types = [
      (values: Float64Array): HostArray => values,
      (values: Float64Array): HostArray => Float32Array.from(values),
      (values: Float64Array): HostArray => BFloat16Array.from(values),
    ];
    for (let i = 0; i < count; i++) {
      const length = i % 100 === 0 ? 2000 : i % 7;
      const values = Float64Array.from({ length }, (_, j) => i + j);
      state[i] = { momentum_buffer: types[i % types.length](values) };
    }
    const params = Array.from({ length: count }, (_, i) => i);
    const group = { lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, params };
    const back = decodeStateDict(encodeStateDict({ state, param_groups: [group] }));
    const arrays = Object.values(back.state).map((entry) => entry.momentum_buffer!);
    assertEquals(arrays, Object.values(state).map((entry) => entry.momentum_buffer!));
    const buffers = new Set(arrays.map(({ buffer }) => buffer));
    if (count <= 1024) assertEquals(buffers.size, count);
    else assert(buffers.size < count / 10, `${buffers.size}`);
  }
});
