/** Which state goes to which parameter, and which hyperparameters to which group. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { decodeStateDict, encodeStateDict, loadState, saveState, SGD } from "@descent/sgd";
import type { Parameter, ParamGroupStateDict, StateDict } from "@descent/sgd";
import { dictOf, everything, firstOfBuffers, group, named, optimizerOf } from "./dicts.ts";

const NOTHING = { missing: [], unexpected: [], mismatched: [], regrouped: [] };
type Names = (string | null)[];

function parametersOf(names: Names): Parameter[] {
  return names.map((name) => {
    const [parameter] = named("");
    if (name === null) delete parameter.name;
    return Object.assign(parameter, name === null ? {} : { name });
  });
}

/** An optimizer whose groups have `lr` 0.1. */
function optimizerFor(here: Names[]): SGD {
  return optimizerOf(...here.map(parametersOf));
}

/** A dict whose groups have `lr` 1, 2, 3, ..., and whose buffer of index `i` is `[i + 1, i + 1]`. */
function dictFor(there: Names[]): StateDict {
  let index = 0;
  const groups = there.map((names, i): ParamGroupStateDict => {
    const params = names.map(() => index++);
    const more = { lr: i + 1 };
    return names.every((name) => name === null)
      ? group(params, undefined, more)
      : group(params, names, more);
  });
  return dictOf(...groups);
}

/** Groups of the optimizer and of the dict, the buffers that arrive, and the groups' `lr` then. */
const FITTING: [string, Names[], Names[], number[], number[]][] = [
  ["names in another order", [["a", "b", "c"]], [["c", "a", "b"]], [2, 3, 1], [1]],
  ["one bias without a name", [["w", null, "v"]], [["v", null, "w"]], [3, 2, 1], [1]],
  ["biases without names", [["v", null, "w", null]], [["w", null, "v", null]], [3, 2, 1, 4], [1]],
  [
    "a group with and one without names, in the other order",
    [[null], ["a"]],
    [["a"], [null]],
    [2, 1],
    [2, 1],
  ],
  [
    "whole groups in another order",
    [["d", null], ["a", "b"], ["c"]],
    [["a", "b"], ["c"], ["d", null]],
    [4, 5, 1, 2, 3],
    [3, 1, 2],
  ],
  ["an optimizer without names", [[null, null], [null]], [["a", "b"], ["c"]], [1, 2, 3], [1, 2]],
  ["a dict without names", [["a", "b"], ["c"]], [[null, null], [null]], [1, 2, 3], [1, 2]],
  ["a name that only the dict has", [[null, "a", null]], [["a", null, "b"]], [2, 1, 3], [1]],
  ["a name that only the optimizer has", [["b", "a", null]], [[null, null, "a"]], [1, 3, 2], [1]],
  [
    "a dict whose names are all equal",
    [["a", "b"], ["c"]],
    [["weight", "weight"], ["weight"]],
    [1, 2, 3],
    [1, 2],
  ],
  [
    "a dict with equal names, and an optimizer without names",
    [[null, null, null]],
    [["weight", "bias", "weight"]],
    [1, 2, 3],
    [1],
  ],
  [
    "a dict with some equal names",
    [["head", "a", "b"]],
    [["weight", "weight", "head"]],
    [3, 1, 2],
    [1],
  ],
];

for (const [what, here, there, buffers, lrs] of FITTING) {
  Deno.test(`${what}: each parameter gets its own state, and each group its hyperparameters`, () => {
    const optimizer = optimizerFor(here);
    assertEquals(optimizer.loadStateDict(dictFor(there)), NOTHING);
    assertEquals(firstOfBuffers(optimizer), buffers);
    assertEquals(optimizer.paramGroups.map(({ lr }) => lr), lrs);
  });
}

/** Groups of both sides, the lines of the refusal, the report, the buffers and `lr` without `strict`. */
const MISFITS: [string, Names[], Names[], string[], object, (number | null)[], number[]][] = [
  [
    "a parameter that is in another group",
    [["a"], ["b", "c"]],
    [["a", "b"], ["c"]],
    ['"b" is in group 0 there and in group 1 here'],
    { regrouped: ["b"] },
    [1, 2, 3],
    [0.1, 0.1],
  ],
  [
    "a parameter in another group of the same number",
    [["a", "b", "x"], ["c", "d"]],
    [["c", "d", "x"], ["a", "b"]],
    ['"x" is in group 0 there, the counterpart of group 1 here, and in group 0 here'],
    { regrouped: ["x"] },
    [4, 5, 3, 1, 2],
    [0.1, 0.1],
  ],
  [
    "groups that were joined, and one that was not",
    [["a", "b"], ["c"]],
    [["a"], ["b"], ["c"]],
    ['"b" is in group 1 there and in group 0 here'],
    { regrouped: ["b"] },
    [1, 2, 3],
    [0.1, 3],
  ],
  [
    "a parameter from a group without a counterpart, whose number is the same",
    [["x"], ["a", "b", "c"]],
    [["a", "b"], ["c"]],
    [
      '"x" is missing in the dict',
      '"c" is in group 1 there, which has no counterpart here, and in group 1 here',
    ],
    { missing: ["x"], regrouped: ["c"] },
    [null, 1, 2, 3],
    [0.1, 0.1],
  ],
  [
    "names that look like indices, and parameters without names",
    [["1", null, null]],
    [["1", null], [null]],
    [
      "group 0 there has 1 parameter that no name matches, and group 0 here has 2",
      "group 1 there has 1 parameter that no name matches, and no counterpart here",
    ],
    { missing: ["param.2"], unexpected: ["param.2"] },
    [1, 2, null],
    [0.1],
  ],
  [
    "a name that was changed",
    [["a", "x"]],
    [["a", "y"]],
    ['"x" is missing in the dict', '"y" is only in the dict'],
    { missing: ["x"], unexpected: ["y"] },
    [1, null],
    [0.1],
  ],
  [
    "a name that was changed beside parameters without names",
    [[null, "x"]],
    [["y", null]],
    ['"x" is missing in the dict', '"y" is only in the dict'],
    { missing: ["x"], unexpected: ["y"] },
    [2, null],
    [0.1],
  ],
  [
    "a new name beside a parameter without a name",
    [["a", "x", null]],
    [["a", null]],
    ['"x" is missing in the dict'],
    { missing: ["x"] },
    [1, null, 2],
    [0.1],
  ],
  [
    "groups of other sizes without names",
    [[null, null]],
    [[null], [null]],
    ["without names, groups must have the same sizes: they are [1, 1] there and [2] here"],
    { missing: ["1"], unexpected: ["1"] },
    [1, null],
    [0.1],
  ],
  [
    "a parameter without a name that is in another group",
    [["a", null], ["b"]],
    [["a"], ["b", null]],
    [
      "group 0 there has 0 parameters that no name matches, and group 0 here has 1",
      "group 1 there has 1 parameter that no name matches, and group 1 here has 0",
    ],
    { missing: ["1"], unexpected: ["2"] },
    [1, null, 2],
    [0.1, 0.1],
  ],
];

for (const [what, here, there, lines, report, buffers, lrs] of MISFITS) {
  Deno.test(`${what}: refused with one error; with strict: false the names decide`, () => {
    const optimizer = optimizerFor(here);
    const before = everything(optimizer);
    const error = assertThrows(() => optimizer.loadStateDict(dictFor(there)), RangeError) as Error;
    assertEquals(error.message.split("\n- ").slice(1), lines);
    assertEquals(everything(optimizer), before);
    assertEquals(optimizer.loadStateDict(dictFor(there), { strict: false }), {
      ...NOTHING,
      ...report,
    });
    assertEquals(firstOfBuffers(optimizer), buffers);
    assertEquals(optimizer.paramGroups.map(({ lr }) => lr), lrs);
  });
}

Deno.test("values and master weights go with the name into another group", () => {
  const make = (names: string[][]) => {
    const params = names.map((group) =>
      group.map((name) => ({ data: new Float16Array(1), grad: new Float16Array(1), name }))
    );
    const options = { lr: 1, momentum: 0.5, masterWeights: true, backend: "js" } as const;
    return {
      params: params.flat(),
      optimizer: new SGD(params.map((params) => ({ params })), options),
    };
  };
  const one = make([["a", "b"], ["c"]]);
  one.params.forEach((p, i) => (p.data.fill(8 * (i + 1)), p.grad.fill(i + 1)));
  one.optimizer.step();
  const two = make([["c", "b"], ["a"]]);
  two.optimizer.loadStateDict(one.optimizer.stateDict({ parameters: true }), {
    strict: false,
    parameters: true,
  });
  const all = ({ params, optimizer }: typeof one) =>
    Object.fromEntries(params.map((p) => [p.name, [p.data, { ...optimizer.state.get(p) }]]));
  assertEquals(all(two), all(one));
});

const ODD = ["", "\0", "a\0b", "é 😀", "__proto__", "constructor", "\n", '"', "param.", "state.0"]
  .concat(["param.x", "state.1.weight", "n".repeat(65_535)]);

Deno.test("odd names are allowed, in files and dicts too", async () => {
  const make = (names: string[]) => optimizerOf(named(...names));
  const one = make(ODD);
  one.state.forEach((_, p) => (p.grad as Float32Array).fill(ODD.indexOf(p.name!) + 1));
  one.step();
  const path = await Deno.makeTempFile();
  await saveState(path, one, { parameters: true });
  for (const dict of [one.stateDict({ parameters: true }), await loadState(path)]) {
    const two = make([...ODD].reverse());
    assertEquals(two.loadStateDict(dict, { parameters: true }), NOTHING);
    for (const [{ name, data }, { momentumBuffer }] of two.state) {
      const [source] = [...one.state.keys()].filter((p) => p.name === name);
      assertEquals([data, momentumBuffer], [source.data, one.state.get(source)!.momentumBuffer]);
    }
  }
  await Deno.remove(path);
});

Deno.test("addParamGroup refuses the name of another parameter, and adds nothing", () => {
  const optimizer = optimizerOf(named("a"));
  const add = (name: string) => () => optimizer.addParamGroup({ params: named("b", name) });
  assertThrows(
    add("a"),
    RangeError,
    'Cannot use parameter 2 as name must differ from that of parameter 0: current value is "a"',
  );
  assertThrows(add("__metadata__"), RangeError, '"__metadata__"');
  assertEquals(optimizer.paramGroups.length, 1);
  add("c")();
  assertEquals(optimizer.stateDict().param_groups[1].param_names, ["b", "c"]);
});

Deno.test("a name that reads differently each time is read once", () => {
  let count = 0;
  const [liar] = named("");
  Object.defineProperty(liar, "name", { get: () => `name${count++}` });
  const optimizer = optimizerOf([liar, ...named("b")]);
  const dict = optimizer.stateDict();
  assertEquals(optimizer.stateDict(), dict);
  assert(encodeStateDict(dict).length > 0);
  assertEquals(optimizer.loadStateDict(decodeStateDict(encodeStateDict(dict))), NOTHING);
});

Deno.test("reports never call a parameter without a name like one that has it", () => {
  const make = (length: number) => {
    const [one, two] = [length, length + 1].map((n): Parameter => ({
      data: new Float32Array(n),
      grad: new Float32Array(n),
    }));
    return optimizerOf([{ ...one, name: "1" }, two]);
  };
  const trained = make(1);
  trained.step();
  const dict = trained.stateDict();
  dict.state[7] = dict.state[1];
  const optimizer = make(3);
  const report = { ...NOTHING, unexpected: ["param.7"], mismatched: ["1", "param.1"] };
  assertEquals(optimizer.loadStateDict(dict, { strict: false }), report);
  assertThrows(() => optimizer.loadStateDict(dict), RangeError, '"param.1" has length 4');
  assertThrows(() => optimizerOf(named("param.1")), RangeError, "name must not be one");
});

Deno.test("an initial learning rate of -1e-18 becomes 0 too", () => {
  const load = (initial_lr: number) => {
    const optimizer = optimizerOf(named("w"));
    optimizer.loadStateDict(dictOf(group([0], ["w"], { initial_lr })));
    return optimizer.paramGroups[0].initialLr;
  };
  for (const lr of [-1e-18, -Number.MIN_VALUE, -1e-12]) assert(Object.is(load(lr), 0));
  assertThrows(() => load(-1e-6), RangeError, "initialLr as it must be finite and >= 0");
});

Deno.test("a learning rate of -1e-18, as torch's cosine ends, becomes 0", () => {
  for (const lr of [-1e-18, -Number.MIN_VALUE, -1e-12]) {
    const optimizer = optimizerOf(named("w"));
    optimizer.loadStateDict(dictOf(group([0], ["w"], { lr })));
    assert(Object.is(optimizer.paramGroups[0].lr, 0));
  }
  const load = (lr: number) =>
    optimizerOf(named("w")).loadStateDict(dictOf(group([0], ["w"], { lr })));
  assertThrows(() => load(-1e-6), RangeError, "lr as it must be finite and >= 0");
});

Deno.test("files of version 1 are read, whatever of their parameters has names", async () => {
  const fixture = (name: string) =>
    new URL(`fixtures/version_1_${name}.safetensors`, import.meta.url);
  const dict = await loadState(fixture("mixed"));
  assertEquals(dict.param_groups.map(({ params, param_names }) => [params, param_names]), [
    [[0, 1], ["a", "b"]],
    [[2], undefined],
    [[3, 4], undefined],
  ]);
  assertEquals(dict.metadata, { epoch: "3" });
  const lengths = [[2, 1], [3], [4, 5]]; // "b" before "a" here
  const names = [["b", "a"], [null], ["d", null]];
  const groups = lengths.map((group, i) =>
    group.map((length, k) => ({
      data: new Float32Array(length),
      grad: null,
      ...(names[i][k] === null ? {} : { name: names[i][k]! }),
    }))
  );
  const optimizer = optimizerOf(...groups);
  assertEquals(optimizer.loadStateDict(dict, { parameters: true }), NOTHING);
  assertEquals(optimizer.paramGroups.map(({ lr }) => lr), [0.25, 0.125, 0.0625]);
  // Made with data of n, n + 1, ..., gradients of n and the lr 0.5, 0.25 and 0.125.
  assertEquals(firstOfBuffers(optimizer), [2, 1, 3, 4, 5]);
  assertEquals(groups.flat().map(({ data }) => data[0]), [1, 0.5, 2.25, 3.5, 4.375]);

  const half = await loadState(fixture("sixteen_bit"));
  assertEquals(half.rounding, { seed: 7, counter: 1 });
  assertEquals(half.state[0].master_weight, Float32Array.of(0.875, 2.125));
  assertEquals(half.state[0].shape, [2, 1]);
});
