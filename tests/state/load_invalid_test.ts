/** Loading what is no valid state dict, or with options that are not valid. */

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
  [
    "codes that are no Int8Array",
    withEntry(coded({ momentum8: zeros(40) })),
    TypeError,
    "Int8Array",
  ],
  [
    "scales that are no Uint8Array",
    withEntry(coded({ momentum_scales: new Int8Array(2) })),
    TypeError,
    'state["0"].momentum_scales must be a Uint8Array: current value is of type Int8Array',
  ],
  [
    "a correction that is neither",
    withEntry({ correction: new Uint8Array(2) }),
    TypeError,
    'state["0"].correction must be an Int16Array or an Int8Array',
  ],
  [
    "codes without scales",
    withEntry({ momentum8: new Int8Array(40) }),
    TypeError,
    'state["0"].momentum_scales must be a Uint8Array, as there is momentum8: current value is undefined',
  ],
  [
    "scales without codes",
    withEntry({ momentum_scales: new Uint8Array(2) }),
    TypeError,
    'state["0"].momentum8 must be an Int8Array, as there is momentum_scales',
  ],
  [
    "a scale too few",
    withEntry(coded({ momentum_scales: new Uint8Array(1) })),
    RangeError,
    "must have length 2, one for each 32 elements of momentum8: current length is 1",
  ],
  [
    "an impossible scale",
    withEntry(coded({ momentum_scales: Uint8Array.of(18, 249) })),
    RangeError,
    "must be 0 or from 18 to 248: current value is 249 at 1",
  ],
  [
    "codes of a shape of another length",
    withEntry(coded({ shape: [41] })),
    RangeError,
    'state["0"].momentum8 as its shape must have 40 elements',
  ],
  [
    "momentum of two kinds",
    withEntry(coded({ momentum_buffer: zeros(40) })),
    TypeError,
    'state["0"] must have momentum_buffer or momentum8: it has both',
  ],
  [
    "master weights of two kinds",
    withEntry({ master_weight: zeros(2), correction: new Int8Array(2) }),
    TypeError,
    'state["0"] must have master_weight or correction: it has both',
  ],
  [
    "a correction of float32",
    { ...withEntry({ correction: new Int8Array(2) }), parameters: { 0: { data: zeros(2) } } },
    TypeError,
    'parameters["0"].data must be a BFloat16Array, as the state has its correction',
  ],
  [
    "16 bits of momentum",
    withGroup({ momentum_bits: 16 }),
    TypeError,
    "momentum_bits must be 8 or",
  ],
  ["bits as text", withGroup({ momentum_bits: "8" }), TypeError, 'current value is "8"'],
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

/** Momentum in 8 bits of 40 elements, but for what is given. */
function coded(more: object): object {
  return { momentum8: new Int8Array(40), momentum_scales: new Uint8Array(2), ...more };
}

function withEntry(entry: object): object {
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
  [{ convert: 1 }, "Cannot set convert as it must be true or false: current value is 1"],
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
