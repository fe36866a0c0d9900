/** Loading an invalid state dict, or with options that are not valid. */

import { assertEquals, assertThrows } from "@std/assert";
import type { LoadStateDictOptions, StateDict } from "@descent/sgd";
import { dictOf, everything, group, named, optimizerOf, zeros } from "./dicts.ts";

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
  ["state of Adam", withEntry({ exp_avg: zeros(2) }), TypeError, "exp_avg is not a state of SGD"],
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
    const load = () =>
      optimizerOf(named("w")).loadStateDict(valid, options as LoadStateDictOptions);
    assertThrows(load, TypeError, message);
  });
}
