/** Bytes that are no checkpoint are refused clearly, quickly and in little memory. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { CheckpointError, decodeStateDict } from "@descent/sgd";
import fc from "fast-check";
import { checkDecode, fileOf, headerOf, hostileFiles, VALID } from "./hostile_files.ts";

const headerEnd = 8 + Number(new DataView(VALID.buffer).getBigUint64(0, true));

Deno.test("the file that the others are made of is accepted", () => {
  assert(checkDecode(VALID));
});

Deno.test("a file truncated at any byte is refused", () => {
  for (let end = 0; end < VALID.length; end++) {
    assert(!checkDecode(VALID.subarray(0, end)), `accepted with ${end} bytes`);
  }
});

Deno.test("a file with anything behind it is refused", () => {
  for (const more of [1, 4, 8]) {
    const longer = new Uint8Array(VALID.length + more);
    longer.set(VALID);
    assert(!checkDecode(longer));
  }
});

Deno.test("every flipped bit of a header is refused, or is another valid value", () => {
  let accepted = 0;
  for (let bit = 0; bit < headerEnd * 8; bit++) {
    const bytes = VALID.slice();
    bytes[bit >> 3] ^= 1 << (bit & 7);
    accepted += Number(checkDecode(bytes));
  }
  // Letters of notes and digits of hyperparameters: others would be a different file.
  assert(accepted > 0 && accepted < headerEnd, `${accepted} of ${headerEnd * 8} were accepted`);
});

Deno.test("a flipped bit of the data is another value, but for one that makes a scale impossible", () => {
  let refused = 0;
  for (let bit = headerEnd * 8; bit < VALID.length * 8; bit++) {
    const bytes = VALID.slice();
    bytes[bit >> 3] ^= 1 << (bit & 7);
    refused += Number(!checkDecode(bytes));
  }
  assertEquals(refused, 1); // the highest bit of 130, which leaves 2
});

Deno.test("hostile files of all kinds are refused, or rightly accepted", () => {
  let accepted = 0;
  fc.assert(
    fc.property(hostileFiles(), (bytes) => void (accepted += Number(checkDecode(bytes)))),
    { numRuns: 10_000, seed: 1 },
  );
  assert(accepted > 100, `only ${accepted} were accepted: the rest may be refused for one reason`);
});

function tensor(name: string, more: object = {}): string {
  const info = { dtype: "F32", shape: [1], data_offsets: [0, 4], ...more };
  return `${JSON.stringify(name)}:${JSON.stringify(info)}`;
}

const buffer = "state.0.momentum_buffer";
const group = '{"lr":0.1,"momentum":0,"dampening":0,"weight_decay":0,"params":[0]}';
const groups = `[${group}]`;
const big = 2 ** 52;

/** A file with state of parameter 0: of each tensor the key, the dtype and the shape. */
function stateOf(...tensors: [string, string, number[]][]): Uint8Array {
  const bytes = { I8: 1, U8: 1, I16: 2, F32: 4, BF16: 2 };
  let end = 0;
  const text = tensors.map(([key, dtype, shape]) => {
    const start = end;
    end += shape.reduce((a, b) => a * b, bytes[dtype as keyof typeof bytes]);
    const name = key.includes(".") ? key : `state.0.${key}`;
    return tensor(name, { dtype, shape, data_offsets: [start, end] });
  });
  return fileOf(headerOf(text.join(","), groups, "3"), end);
}

/** The same with momentum in 8 bits, whose last scale is given. */
function scaledBy(scale: number): Uint8Array {
  const bytes = stateOf(["momentum8", "I8", [40]], ["momentum_scales", "U8", [2]]);
  bytes[bytes.length - 1] = scale;
  return bytes;
}

/** A header, bytes of data, and the place that the message names. */
const HOSTILE: [string, Uint8Array, string][] = [
  [
    "a header of 2^64 - 1 bytes",
    fileOf("{}", 0, 2n ** 64n - 1n),
    "18446744073709551615 are announced",
  ],
  ["a header of 2^63 bytes", fileOf("{}", 0, 2n ** 63n), "9223372036854775808 are announced"],
  ["a header longer than the file", fileOf("{}", 0, 3n), "at most 2 bytes: 3 are announced"],
  ["no header", fileOf(""), "character 0: there must be"],
  ["a header that is an array", fileOf("[]"), 'character 0: there must be "{"'],
  ["something after the header's end", fileOf("{}{}"), "character 2: nothing must follow"],
  ["a comma too much", fileOf('{"a":{},}'), "tensor"],
  [
    "a terabyte announced",
    fileOf(headerOf(tensor(buffer, { shape: [2 ** 38], data_offsets: [0, 2 ** 40] }), groups), 4),
    "its tensors must have 4 bytes, as the file has: they have 1099511627776",
  ],
  [
    "a shape that overflows",
    fileOf(headerOf(tensor(buffer, { shape: [big, big, 0] }), groups), 4),
    `tensor "${buffer}" is too large: its shape is [${big}, ${big}, 0]`,
  ],
  [
    "offsets that overflow",
    fileOf(headerOf(`"${buffer}":{"dtype":"F32","shape":[1],"data_offsets":[9007199254740992,4]}`)),
    "whole number from 0 to 2^53 - 1",
  ],
  [
    "offsets that go backwards",
    fileOf(headerOf(tensor(buffer, { data_offsets: [4, 0] }), groups), 4),
    "its data_offsets are [4, 0]",
  ],
  [
    "offsets that overlap",
    fileOf(headerOf(`${tensor(buffer)},${tensor("param.0")}`, groups), 4),
    'tensor "param.0" must start at byte 4',
  ],
  [
    "offsets that leave a hole",
    fileOf(headerOf(tensor(buffer, { data_offsets: [4, 8] }), groups), 8),
    "must start at byte 0 of the data, where the one before ends: it starts at 4",
  ],
  [
    "a hole at the end",
    fileOf(headerOf(tensor(buffer), groups), 8),
    "its tensors must have 8 bytes, as the file has: they have 4",
  ],
  [
    "a dtype that does not exist",
    fileOf(headerOf(tensor(buffer, { dtype: "F33" }), groups), 4),
    'is not known: it is "F33"',
  ],
  [
    "a dtype that is a property of every object",
    fileOf(headerOf(tensor(buffer, { dtype: "constructor" }), groups), 4),
    'is not known: it is "constructor"',
  ],
  [
    "a dtype that SGD does not have",
    fileOf(headerOf(tensor(buffer, { dtype: "I32" }), groups), 4),
    "must be F16, BF16, F32 or F64: it is I32",
  ],
  ...([1, 17, 249, 255].map((scale): [string, Uint8Array, string] => [
    `a scale of ${scale}`,
    scaledBy(scale),
    `each of tensor "state.0.momentum_scales" must be 0 or from 18 to 248: current value is ${scale} at 1`,
  ])),
  [
    "codes without scales",
    stateOf(["momentum8", "I8", [40]]),
    'state["0"].momentum_scales must be a Uint8Array, as there is momentum8',
  ],
  [
    "scales without codes",
    stateOf(["momentum_scales", "U8", [1]]),
    'state["0"].momentum8 must be an Int8Array, as there is momentum_scales',
  ],
  [
    "too few scales",
    stateOf(["momentum8", "I8", [33]], ["momentum_scales", "U8", [1]]),
    "momentum_scales must have length 2, one for each 32 elements of momentum8: current length is 1",
  ],
  [
    "too many scales",
    stateOf(["momentum8", "I8", [32]], ["momentum_scales", "U8", [2]]),
    "momentum_scales must have length 1",
  ],
  [
    "scales of two dimensions",
    stateOf(["momentum8", "I8", [64]], ["momentum_scales", "U8", [1, 2]]),
    'the shape of tensor "state.0.momentum_scales" must have one dimension',
  ],
  [
    "momentum of two kinds",
    stateOf(
      ["momentum_buffer", "F32", [1]],
      ["momentum8", "I8", [1]],
      ["momentum_scales", "U8", [1]],
    ),
    'state["0"] must have momentum_buffer or momentum8: it has both',
  ],
  [
    "master weights of two kinds",
    stateOf(["master_weight", "F32", [1]], ["correction", "I8", [1]]),
    'state["0"] must have master_weight or correction: it has both',
  ],
  [
    "a correction of a float32 parameter",
    stateOf(["param.0", "F32", [1]], ["correction", "I16", [1]]),
    'parameters["0"].data must be a BFloat16Array, as the state has its correction',
  ],
  [
    "a correction of another shape",
    stateOf(["momentum_buffer", "F32", [2, 1]], ["correction", "I16", [1, 2]]),
    "must have the shape of the other state of its parameter",
  ],
  ...([
    ["momentum8", "U8", "I8"],
    ["momentum8", "F32", "I8"],
    ["momentum_scales", "I8", "U8"],
    ["momentum_buffer", "I8", "F16, BF16, F32 or F64"],
    ["param.0", "I16", "F16, BF16, F32 or F64"],
    ["correction", "U8", "I16 or I8"],
    ["correction", "BF16", "I16 or I8"],
    ["master_weight", "I16", "F32"],
  ].map(([key, dtype, needed]): [string, Uint8Array, string] => [
    `${key} of ${dtype}`,
    stateOf([key, dtype, [1]]),
    `must be ${needed}: it is ${dtype}`,
  ])),
  ["9 bits of momentum", fileOf(headerOf("", bitsOf("9"))), "momentum_bits must be 8 or 32"],
  ["a text for bits", fileOf(headerOf("", bitsOf('"8"'))), "momentum_bits must be 8 or 32"],
  [
    "65 dimensions",
    fileOf(headerOf(tensor(buffer, { shape: Array(65).fill(1) }), groups), 4),
    "at most 64 numbers",
  ],
  [
    "three offsets",
    fileOf(headerOf(tensor(buffer, { data_offsets: [0, 4, 8] }), groups), 4),
    "at most 2 numbers",
  ],
  [
    "a tensor without shape",
    fileOf(headerOf(`"${buffer}":{"dtype":"F32","data_offsets":[0,4]}`, groups), 4),
    "must have dtype, shape and two data_offsets",
  ],
  [
    "an unknown field",
    fileOf(headerOf(tensor(buffer, { crc: 1 }), groups), 4),
    'a tensor has no field "crc"',
  ],
  [
    "a tensor twice",
    fileOf(headerOf(`${tensor(buffer)},${tensor(buffer)}`, groups), 4),
    `the key "${buffer}" is doubled`,
  ],
  [
    "a tensor twice, once in disguise",
    fileOf(
      headerOf(`${tensor(buffer)},${tensor(buffer).replace("state", "\\u0073tate")}`, groups),
      4,
    ),
    `the key "${buffer}" is doubled`,
  ],
  [
    "metadata twice",
    fileOf('{"__metadata__":{},"__metadata__":{}}'),
    'key "__metadata__" is doubled',
  ],
  ["metadata that is no text", fileOf('{"__metadata__":{"a":1}}'), "there must be a string"],
  [
    "__proto__ as a tensor",
    fileOf(headerOf(tensor("__proto__"), groups), 4),
    'tensor "__proto__" belongs to no parameter',
  ],
  [
    "a tensor of no parameter",
    fileOf(headerOf(tensor("state.1.momentum_buffer"), groups), 4),
    'tensor "state.1.momentum_buffer" belongs to no parameter',
  ],
  ["no format", fileOf("{}"), "the format in its metadata must be"],
  ["another format", fileOf('{"__metadata__":{"format":"pt"}}'), 'it is "pt"'],
  ["version 0", fileOf(headerOf("", "[]", "0")), 'must be a number: it is "0"'],
  ["no param_groups", fileOf(headerOf("").replace("param_groups", "x")), "has no param_groups"],
  ["a lone surrogate", fileOf('{"\\ud800":{}}'), "lone surrogate"],
  ["an escape that does not exist", fileOf('{"\\x":{}}'), "is not valid JSON"],
  ["a raw line feed in a name", fileOf('{"\n":{}}'), "is not valid JSON"],
  ["a byte order mark", fileOf("\ufeff{}"), 'character 0: there must be "{"'],
  ["bytes that are not UTF-8", fileOf(Uint8Array.of(0x7b, 0xc0, 0x80, 0x7d)), "not UTF-8"],
  [
    "groups that are no array",
    fileOf(headerOf("", "{}")),
    "param_groups is not valid at character 0",
  ],
  ["a group twice", fileOf(headerOf("", `[${group},${group}]`)), "index 0 is in its params twice"],
  [
    "a key of a group twice",
    fileOf(headerOf("", groups.replace('"lr"', '"momentum"'))),
    'the key "momentum" is doubled',
  ],
  ["an lr that overflows", fileOf(headerOf("", groups.replace("0.1", "1e999"))), "is too large"],
  ["a negative lr", fileOf(headerOf("", groups.replace("0.1", "-1"))), "current value is -1"],
  ["an lr of NaN", fileOf(headerOf("", groups.replace("0.1", "NaN"))), "number, boolean or null"],
  [
    "objects in a group",
    fileOf(headerOf("", groups.replace("0.1", '{"a":1}'))),
    "number, boolean or null",
  ],
  [
    "two parameters of one name",
    fileOf(
      headerOf(tensor("a"), groups.replace("[0]", '[0,1],"param_names":["a","a"]')),
      4,
    ),
    'several parameters are called "a"',
  ],
  ...([
    ["that is no object", "[]", "lr_scheduler is not valid at character 0"],
    ["that is empty", "{}", "lr_scheduler.last_epoch must be a whole number >= 0"],
    ["with a step before the first", schedulerOf("-1"), "current value is -1"],
    ["with a step beyond 2^53", schedulerOf("9007199254740992"), "whole number >= 0"],
    ["with text for an lr", schedulerOf("1", '["1"]'), 'current value is "1"'],
    ["with a negative lr", schedulerOf("1", "[-1]"), "in lr_scheduler._last_lr"],
    ["with an lr that overflows", schedulerOf("1", "[1e999]"), "is too large"],
    ["with an lr that is no list", schedulerOf("1", "1"), 'there must be "["'],
    ["with lists in a list", schedulerOf("1", "[[1]]"), "number, boolean or null"],
    ["with another list", schedulerOf("1", '[1],"gamma":[1]'), "number, boolean or null"],
    ["with a best of NaN", schedulerOf("1", '[1],"best":NaN'), "number, boolean or null"],
    ["with an infinite step", schedulerOf("Infinity"), "number, boolean or null"],
    ["with a best of null", schedulerOf("1", '[1],"best":null'), "lr_scheduler.best must be"],
    ["with a key twice", schedulerOf("1", '[1],"last_epoch":1'), '"last_epoch" is doubled'],
    ["with something behind it", `${schedulerOf("1")}{}`, "nothing must follow"],
  ].map(([what, json, message]): [string, Uint8Array, string] => [
    `a scheduler ${what}`,
    fileOf(headerOf("", "[]", "1", { lr_scheduler: json })),
    message,
  ])),
  ...([
    ["that is no object", "[]", "grad_scaler is not valid at character 0"],
    ["that is empty", "{}", "grad_scaler.scale must be a finite number > 0"],
    ["of torch's that was disabled", "{}", "if it is disabled (enabled=False)"],
    ["with a scale of 0", scalerOf("0"), "current value is 0"],
    ["with a scale that overflows", scalerOf("1e999"), "is too large"],
    ["with a text for a scale", scalerOf('"1"'), 'current value is "1"'],
    ["with a list", scalerOf("[1]"), "number, boolean or null"],
    ["with half a step", scalerOf("1", "0.5"), "_growth_tracker must be a whole number >= 0"],
    ["with another key", scalerOf("1", '0,"a":1'), 'key "a" is no state of a GradScaler'],
    ["with a long key", scalerOf("1", `0,"${"a".repeat(9999)}":1`), "is no state of a GradScaler"],
    ["with a key twice", scalerOf("1", '0,"scale":1'), '"scale" is doubled'],
  ].map(([what, json, message]): [string, Uint8Array, string] => [
    `a scaler ${what}`,
    fileOf(headerOf("", "[]", "1", { grad_scaler: json })),
    message,
  ])),
];

function bitsOf(bits: string): string {
  return groups.replace('"params"', `"momentum_bits":${bits},"params"`);
}

function scalerOf(scale: string, tracker = "0"): string {
  return `{"scale":${scale},"growth_factor":2,"backoff_factor":0.5,"growth_interval":1,` +
    `"_growth_tracker":${tracker}}`;
}

function schedulerOf(epoch: string, lrs = "[1]"): string {
  return `{"last_epoch":${epoch},"_last_lr":${lrs}}`;
}

for (const [name, bytes, message] of HOSTILE) {
  Deno.test(`refused, with the place named: ${name}`, () => {
    assertThrows(() => decodeStateDict(bytes), CheckpointError, message);
  });
}

for (const scale of [0, 18, 130, 248]) {
  Deno.test(`a scale of ${scale} is accepted, with every code`, () => {
    const bytes = scaledBy(scale);
    bytes.fill(-128, bytes.length - 42, bytes.length - 2);
    const entry = decodeStateDict(bytes).state[0];
    assertEquals(entry.momentum8, new Int8Array(40).fill(-128));
    assertEquals(entry.momentum_scales, Uint8Array.of(0, scale));
  });
}

const MANY = 4_000_000;
const LIMIT = 10_000; // ms; a moment on an idle machine, hours if anything were quadratic

/** Large headers. */
const LARGE: [string, () => string][] = [
  ["deep arrays", () => "[".repeat(MANY)],
  ["deep objects", () => '{"a":'.repeat(MANY / 5)],
  ["deep metadata", () => `{"__metadata__":${'{"a":'.repeat(MANY / 5)}`],
  ["a deep shape", () => `{"a":{"shape":${"[".repeat(MANY)}`],
  ["a long shape", () => `{"a":{"shape":[${"1,".repeat(MANY / 2)}1]}}`],
  ["a long number", () => `{"a":{"shape":[${"1".repeat(MANY)}]}}`],
  ["a long name", () => `{"${"a".repeat(MANY)}":{}}`],
  ["a long string that does not end", () => `{"${"\\\\".repeat(MANY / 2)}`],
  ["spaces", () => " ".repeat(MANY)],
  ["deep groups", () => headerOf("", "[".repeat(MANY))],
  ["deep values in a group", () => headerOf("", `[{"lr":${"[".repeat(MANY)}`)],
  ["a deep scheduler", () => headerOf("", "[]", "1", { lr_scheduler: "[".repeat(MANY) })],
  [
    "deep values in a scheduler",
    () => headerOf("", "[]", "1", { lr_scheduler: `{"a":${"[".repeat(MANY)}` }),
  ],
  ["a deep scaler", () => headerOf("", "[]", "1", { grad_scaler: "[".repeat(MANY) })],
  ["many groups", () => headerOf("", `[${"{},".repeat(MANY / 3)}{}]`)],
  ["many empty tensors", () => headerOf(manyTensors(), groups)],
];

function manyTensors(): string {
  const info = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}';
  return Array.from({ length: MANY / 60 }, (_, i) => `"${i}":${info}`).join(",");
}

for (const [name, header] of LARGE) {
  Deno.test(`4 MB of ${name} are refused within seconds`, () => {
    const bytes = fileOf(header());
    const start = performance.now();
    assertEquals(checkDecode(bytes), false);
    const took = performance.now() - start;
    assert(took < LIMIT, `it took ${took} ms`);
  });
}
