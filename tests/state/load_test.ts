/** What `loadStateDict` does: matching, defaults, and nothing at all if something does not fit. */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { FloatArray, LoadOptions, ParamGroupStateDict, StateDict } from "@descent/sgd";
import type { Parameter } from "@descent/sgd";

const HYPER = { lr: 0.5, momentum: 0.9, dampening: 0, weight_decay: 0 };

function named(...names: string[]): Parameter[] {
  return names.map((name) => ({ data: Float32Array.of(1, 2), grad: Float32Array.of(1, 1), name }));
}

function unnamed(...lengths: number[]): Parameter[] {
  return lengths.map((length) => ({ data: new Float32Array(length), grad: null }));
}

function optimizerOf(...groups: Parameter[][]): SGD {
  return new SGD(groups.map((params) => ({ params })), { lr: 0.1, momentum: 0.9 });
}

function group(params: number[], names?: string[], more: object = {}): ParamGroupStateDict {
  return { ...HYPER, ...more, params, ...(names === undefined ? {} : { param_names: names }) };
}

/** A dict whose buffer of index `i` is `[i + 1, i + 1]`. */
function dictOf(...param_groups: ParamGroupStateDict[]): StateDict {
  const state: StateDict["state"] = {};
  for (const index of param_groups.flatMap(({ params }) => params)) {
    state[index] = { momentum_buffer: Float32Array.of(index + 1, index + 1) };
  }
  return { state, param_groups };
}

function firstOfBuffers(optimizer: SGD): (number | null)[] {
  return [...optimizer.state.values()].map(({ momentumBuffer }) => momentumBuffer?.[0] ?? null);
}

/** All that a load may change. */
function everything(optimizer: SGD) {
  return structuredClone({
    dict: optimizer.stateDict({ parameters: true }),
    groups: optimizer.paramGroups.map(({ params: _, ...values }) => values),
  });
}

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
  });
  optimizer.loadStateDict(dictOf(group([0])));
  const { nesterov, maximize, foreach, differentiable, sign } = optimizer.paramGroups[0];
  assertEquals(
    { nesterov, maximize, foreach, differentiable, sign },
    { nesterov: false, maximize: false, foreach: null, differentiable: false, sign: false },
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
  assertEquals(report, { missing: [], unexpected: [], mismatched: [] });
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

/** What does not fit an optimizer of the groups ["a", "b"] and ["c"], and the lines that say so. */
const MISFITS: [string, StateDict, string[], LoadOptions?][] = [
  ["fewer groups", dictOf(group([0, 1], ["a", "b"])), ['"c" is missing']],
  [
    "more groups",
    dictOf(group([0, 1], ["a", "b"]), group([2], ["c"]), group([3], ["d"])),
    ['"d" is only in the dict'],
  ],
  ["fewer groups, without names", dictOf(group([0, 1])), ['"c" is missing']],
  [
    "fewer and more parameters, without names",
    dictOf(group([0]), group([1, 2])),
    ['"b" is missing', '"2" is only in the dict'],
  ],
  [
    "other names",
    dictOf(group([0, 1], ["a", "x"]), group([2], ["y"])),
    ['"b" is missing', '"c" is missing', '"x" is only in', '"y" is only in'],
  ],
  [
    "a parameter in another group",
    dictOf(group([0], ["a"]), group([1, 2], ["b", "c"])),
    ['"b" is missing', '"b" is only in'],
  ],
  [
    "a name that is doubled",
    dictOf(group([0, 1], ["a", "a"]), group([2], ["c"])),
    ['"a" is the name of several', '"b" is missing'],
  ],
  [
    "names doubled across groups",
    dictOf(group([0, 1], ["a", "b"]), group([2], ["a"])),
    ['"a" is the name of several', '"c" is missing'],
  ],
  [
    "other lengths, dtypes and shapes, all of them",
    {
      state: {
        0: { momentum_buffer: new Float32Array(3) },
        1: { momentum_buffer: new Float64Array(2) },
        2: { momentum_buffer: new Float32Array(2), shape: [1, 2] },
      },
      param_groups: [group([0, 1]), group([2])],
    },
    [
      '"a" has length 2, but its momentum buffer in the dict: 3',
      '"b" is float32, but its momentum buffer in the dict: float64',
      '"c" has shape [2, 1], but its momentum buffer in the dict: [1, 2]',
    ],
  ],
  [
    "state of no group",
    { ...dictOf(group([0, 1]), group([2])), state: { 9: {}, 8: { momentum_buffer: zeros(1) } } },
    ['"8" is in none of'],
  ],
  [
    "parameters that are missing or of another length",
    {
      ...dictOf(group([0, 1]), group([2])),
      parameters: { 0: { data: zeros(2) }, 1: { data: zeros(1) } },
    },
    ['"b" has length 2, but its values in the dict: 1', '"c" has no values'],
    { parameters: true },
  ],
];

function zeros(length: number): FloatArray {
  return new Float32Array(length);
}

function misfitting(): SGD {
  const [a, b, c] = named("a", "b", "c");
  c.shape = [2, 1];
  const optimizer = optimizerOf([a, b], [c]);
  optimizer.step();
  return optimizer;
}

for (const [name, dict, lines, options] of MISFITS) {
  Deno.test(`a dict with ${name} is refused, every difference listed, nothing changed`, () => {
    const optimizer = misfitting();
    const before = everything(optimizer);
    const error = assertThrows(() => optimizer.loadStateDict(dict, options), RangeError);
    const found = (error as Error).message.split("\n- ").slice(1);
    const unexplained = found.filter((line) => !lines.some((expected) => line.includes(expected)));
    assertEquals(unexplained, []);
    for (const line of lines) assert((error as Error).message.includes(line), String(error));
    assertEquals(everything(optimizer), before);
  });
}

Deno.test("strict: false loads what matches and returns what did not", () => {
  const optimizer = optimizerOf(named("a", "b", "c", "d"), named("e"));
  optimizer.step();
  const dict = dictOf(group([0, 1, 2, 3], ["x", "a", "b", "d"]));
  dict.state[2] = { momentum_buffer: zeros(3) };
  const report = optimizer.loadStateDict(dict, { strict: false });
  assertEquals(report, { missing: ["c", "e"], unexpected: ["x"], mismatched: ["b"] });
  assertEquals(firstOfBuffers(optimizer), [2, 1, 1, 4, 1]);
  assertEquals(optimizer.paramGroups.map(({ lr }) => lr), [0.5, 0.1]);
});

/** Groups of the optimizer and of the dict, the lines of the refusal, and what remains loadable. */
const DOUBLED: [string, string[][], string[][], string[], (number | null)[]][] = [
  [
    "in the optimizer",
    [["a", "a", "a", "b"]],
    [["a", "b"]],
    ['"a" is the name of several parameters'],
    [null, null, null, 2],
  ],
  [
    "in the dict",
    [["a", "b"]],
    [["a", "a", "b"]],
    ['"a" is the name of several parameters'],
    [null, 3],
  ],
  [
    "in both",
    [["a", "a"], ["b"]],
    [["a", "a"], ["b"]],
    ['"a" is the name of several parameters'],
    [null, null, 3],
  ],
  [
    "across groups of the optimizer",
    [["a", "b"], ["a", "c"]],
    [["a", "b"], ["c"]],
    ['"a" is the name of several parameters'],
    [null, 2, null, 3],
  ],
  [
    "across groups of the dict",
    [["a", "b"], ["c"]],
    [["a", "b"], ["a", "c"]],
    ['"a" is the name of several parameters'],
    [null, 2, 4],
  ],
];

for (const [where, here, there, lines, buffers] of DOUBLED) {
  Deno.test(`a name that is doubled ${where} is listed once, and not loaded`, () => {
    const optimizer = optimizerOf(...here.map((names) => named(...names)));
    let index = 0;
    const dict = dictOf(...there.map((names) => group(names.map(() => index++), names)));
    const error = assertThrows(() => optimizer.loadStateDict(dict), RangeError) as Error;
    assertEquals(error.message.split("\n- ").slice(1), lines);
    assertEquals(firstOfBuffers(optimizer).every((first) => first === null), true);
    const report = optimizer.loadStateDict(dict, { strict: false });
    assertEquals(report, { missing: [], unexpected: [], mismatched: ["a"] });
    assertEquals(firstOfBuffers(optimizer), buffers);
  });
}

const valid = dictOf(group([0]));
const INVALID: [string, unknown, typeof TypeError | typeof RangeError, string][] = [
  ["no object", null, TypeError, "the state dict must be a plain object: current value is null"],
  ["no param_groups", { state: {} }, TypeError, "param_groups must be an array"],
  ["no state", { param_groups: [] }, TypeError, "state must be a plain object"],
  ["a Map as state", { ...valid, state: new Map() }, TypeError, "current value is of type Map"],
  ["an array as state", { ...valid, state: [] }, TypeError, "current value is of type Array"],
  [
    "a Map as parameters",
    { ...valid, parameters: new Map() },
    TypeError,
    "parameters must be a plain",
  ],
  ["a Map as metadata", { ...valid, metadata: new Map() }, TypeError, "metadata must be a plain"],
  ["no lr", withGroup({ lr: undefined }), TypeError, "param_groups[0].lr must be a number"],
  ["no momentum", withGroup({ momentum: undefined }), TypeError, "param_groups[0].momentum"],
  ["a negative lr", withGroup({ lr: -1 }), RangeError, "current value is -1 in param_groups[0]"],
  ["NaN", withGroup({ weight_decay: NaN }), RangeError, "Cannot set weightDecay"],
  ["text for a flag", withGroup({ nesterov: "yes" }), TypeError, 'current value is "yes"'],
  [
    "nesterov without momentum",
    withGroup({ nesterov: true, momentum: 0 }),
    RangeError,
    "Cannot set nesterov",
  ],
  ["no params", withGroup({ params: undefined }), TypeError, "params must be an array"],
  ["a negative index", withGroup({ params: [-1] }), TypeError, "current value is -1"],
  ["an index twice", dictOf(group([0]), group([0])), RangeError, "index 0 is in its params twice"],
  ["too few names", withGroup({ param_names: [] }), RangeError, "must have 1 names"],
  ["a name that is no text", withGroup({ param_names: [1] }), TypeError, "param_names[0]"],
  ["an array as buffer", withEntry({ momentum_buffer: [1, 2] }), TypeError, "Float32Array"],
  ["state of Adam", withEntry({ exp_avg: zeros(2) }), TypeError, "exp_avg is no state of SGD"],
  ["a key that is no index", { ...valid, state: { a: {} } }, TypeError, 'state["a"]'],
  [
    "a shape of another length",
    withEntry({ momentum_buffer: zeros(2), shape: [3] }),
    RangeError,
    "[3] has 3",
  ],
  ["a note that is no text", { ...valid, metadata: { epoch: 3 } }, TypeError, "metadata.epoch"],
];

function withGroup(more: object): unknown {
  return { ...valid, param_groups: [{ ...valid.param_groups[0], ...more }] };
}

function withEntry(entry: object): unknown {
  return { ...valid, state: { 0: entry } };
}

for (const [name, dict, type, message] of INVALID) {
  Deno.test(`a dict with ${name} is refused also if strict is false, and nothing changes`, () => {
    const optimizer = optimizerOf(named("w"));
    optimizer.step();
    const before = everything(optimizer);
    const load = () => optimizer.loadStateDict(dict as StateDict, { strict: false });
    assertThrows(load, type, message);
    assertEquals(everything(optimizer), before);
  });
}

Deno.test("parameters that are asked for must be there", () => {
  const optimizer = optimizerOf(named("w"));
  const load = () => optimizer.loadStateDict(valid, { parameters: true });
  assertThrows(load, TypeError, "Cannot load the parameters as the state dict has none");
});

Deno.test("with strict: false, values that are missing are reported, and the rest is loaded", () => {
  const [a, b] = named("a", "b");
  const optimizer = optimizerOf([a, b]);
  const dict = dictOf(group([0, 1], ["a", "b"]));
  const options = { strict: false, parameters: true };
  const none = optimizer.loadStateDict(dict, options);
  assertEquals(none, { missing: ["a", "b"], unexpected: [], mismatched: [] });
  assertEquals(firstOfBuffers(optimizer), [1, 2]);
  dict.state[0] = { momentum_buffer: Float32Array.of(8, 8) };
  dict.parameters = { 1: { data: Float32Array.of(5, 6) } };
  const one = optimizer.loadStateDict(dict, options);
  assertEquals(one, { missing: ["a"], unexpected: [], mismatched: [] });
  assertEquals(firstOfBuffers(optimizer), [8, 2]);
  assertEquals([a.data, b.data], [Float32Array.of(1, 2), Float32Array.of(5, 6)]);
});

const SHAPES: [number[] | undefined, number[] | undefined, boolean][] = [
  [[2, 3], undefined, true],
  [undefined, [2, 3], true],
  [[2, 3], [2, 3], true],
  [[2, 3], [6], false],
  [[2, 3], [3, 2], false],
  [[6], [2, 3], false],
];

for (const [here, there, fits] of SHAPES) {
  const what = `of shape ${there ?? "unknown"} ${fits ? "fits" : "does not fit"}`;
  Deno.test(`a buffer ${what} a parameter of shape ${here ?? "unknown"}`, () => {
    const optimizer = optimizerOf([{ data: zeros(6) as Float32Array, grad: null, shape: here }]);
    const entry = { momentum_buffer: zeros(6), ...(there === undefined ? {} : { shape: there }) };
    const load = () => optimizer.loadStateDict({ state: { 0: entry }, param_groups: [group([0])] });
    if (fits) load();
    else assertThrows(load, RangeError, "has shape [");
  });
}

const OPTIONS: [unknown, string][] = [
  [{ strickt: false }, "strickt"],
  [{ strict: 0 }, "Cannot set strict as it must be true or false: current value is 0"],
  [{ strict: null }, "Cannot set strict"],
  [{ parameters: "yes" }, "Cannot set parameters as it must be true or false"],
  [null, "the options as they must be an object: current value is null"],
  [false, "the options as they must be an object: current value is false"],
];

for (const [options, message] of OPTIONS) {
  Deno.test(`options ${JSON.stringify(options)} are refused`, () => {
    const load = () => optimizerOf(named("w")).loadStateDict(valid, options as LoadOptions);
    assertThrows(load, TypeError, message);
  });
}
