/** Loading state dicts that do not fit the optimizer. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import type { LoadStateDictOptions, SGD, StateDict } from "@descent/sgd";
import { dictOf, everything, firstOfBuffers, group, named, optimizerOf, zeros } from "./dicts.ts";

const valid = dictOf(group([0]));
const NOTHING = { missing: [], unexpected: [], mismatched: [], regrouped: [] };

const MISFITS: [string, StateDict, string[], LoadStateDictOptions?][] = [
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
    ["without names, groups must have the same sizes: they are [1, 2] there and [2, 1] here"],
  ],
  [
    "other names",
    dictOf(group([0, 1], ["a", "x"]), group([2], ["y"])),
    ['"b" is missing', '"c" is missing', '"x" is only in', '"y" is only in'],
  ],
  [
    "a parameter in another group",
    dictOf(group([0], ["a"]), group([1, 2], ["b", "c"])),
    ['"b" is in group 1 there and in group 0 here'],
  ],
  [
    "groups in another order, and a parameter in another one of them",
    dictOf(group([0], ["c"]), group([1], ["a"]), group([2], ["b"])),
    ['"b" is in group 2 there and in group 0 here'],
  ],
  [
    "a parameter without a name too many, beside others with names",
    dictOf(group([0, 1, 3], ["a", "b", null]), group([2], ["c"])),
    ["group 0 there has 1 parameter that no name matches, and group 0 here has 0"],
  ],
  [
    "a group without names too many, beside others with names",
    dictOf(group([0, 1], ["a", "b"]), group([2], ["c"]), group([3, 4])),
    ["group 2 there has 2 parameters that no name matches, and no counterpart here"],
  ],
  [
    "a group without parameters",
    dictOf(group([0, 1], ["a", "b"]), group([2], ["c"]), group([])),
    ["group 2 there has no parameters, and no counterpart here"],
  ],
  [
    "a group without parameters, and without names",
    dictOf(group([0, 1]), group([2]), group([])),
    ["they are [2, 1, 0] there and [2, 1] here"],
  ],
  [
    "a duplicated name",
    dictOf(group([0, 1, 3], ["a", "a", "b"]), group([2], ["c"])),
    ["group 0 there has 2 parameters that no name matches, and group 0 here has 1"],
  ],
  [
    "a duplicated name, beside one that only the dict has",
    dictOf(group([0, 1, 3], ["a", "a", "x"]), group([2], ["c"])),
    [
      '"a" is in the dict more than once',
      '"b" is missing in the dict',
      '"x" is only in the dict',
      "group 0 there has 2 parameters that no name matches, and no counterpart here",
    ],
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
  const expected = { missing: ["c", "e"], unexpected: ["x"], mismatched: ["b"], regrouped: [] };
  assertEquals(report, expected);
  assertEquals(firstOfBuffers(optimizer), [2, 1, 1, 4, 1]);
  assertEquals(optimizer.paramGroups.map(({ lr }) => lr), [0.1, 0.1]); // other members, own lr
});

Deno.test("parameters that are asked for must be there", () => {
  const optimizer = optimizerOf(named("w"));
  const load = () => optimizer.loadStateDict(valid, { parameters: true });
  assertThrows(load, TypeError, "the state dict has none: parameters: true");
});

Deno.test("with strict: false, values that are missing are reported, and the rest is loaded", () => {
  const [a, b] = named("a", "b");
  const optimizer = optimizerOf([a, b]);
  const dict = dictOf(group([0, 1], ["a", "b"]));
  const options = { strict: false, parameters: true };
  const none = optimizer.loadStateDict(dict, options);
  assertEquals(none, { ...NOTHING, missing: ["a", "b"] });
  assertEquals(firstOfBuffers(optimizer), [1, 2]);
  dict.state[0] = { momentum_buffer: Float32Array.of(8, 8) };
  dict.parameters = { 1: { data: Float32Array.of(5, 6) } };
  const one = optimizer.loadStateDict(dict, options);
  assertEquals(one, { ...NOTHING, missing: ["a"] });
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

/** Loads a dict into an optimizer, one of whose parameters gives its data so many times only. */
function loadWithReads(limit: number) {
  const [a, b] = named("a", "b");
  const optimizer = optimizerOf([a], [b]);
  optimizer.step();
  const before = everything(optimizer);
  const dict = dictOf(group([0], ["a"], { lr: 7 }), group([1], ["b"], { lr: 8 }));
  dict.parameters = { 0: { data: Float32Array.of(5, 6) }, 1: { data: Float32Array.of(7, 8) } };
  const { data } = b;
  let reads = 0;
  Object.defineProperty(b, "data", {
    configurable: true,
    get() {
      if (++reads > limit) throw new Error("data are gone");
      return data;
    },
  });
  const error = thrownBy(() => optimizer.loadStateDict(dict, { parameters: true }));
  Object.defineProperty(b, "data", { value: data, writable: true });
  return { error, before, after: everything(optimizer) };
}

function thrownBy(run: () => void): unknown {
  try {
    run();
    return null;
  } catch (error) {
    return error;
  }
}

Deno.test("data that can no longer be read while a dict is loaded leave everything as it was", () => {
  for (let limit = 0; limit < 100; limit++) {
    const { error, before, after } = loadWithReads(limit);
    if (error === null) {
      assertEquals(after.dict.parameters![1].data, Float32Array.of(7, 8));
      return assert(limit > 0);
    }
    assertEquals((error as Error).message, "data are gone");
    assertEquals(after, before);
  }
  throw new Error("the dict was never loaded");
});
