/** Files that mean harm, and an oracle that knows nothing of Descent's own reader. */

import { assert, assertEquals } from "@std/assert";
import { BFloat16Array, CheckpointError, decodeStateDict, encodeStateDict } from "@descent/sgd";
import type { StateDict } from "@descent/sgd";
import fc from "fast-check";

const GROUP = { lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, nesterov: true };

/** A small file with all that a file may hold. */
export const VALID: Uint8Array = encodeStateDict({
  state: {
    "0": { momentum_buffer: Float32Array.of(0.1, 0.2), shape: [2, 1] },
    "1": {
      momentum8: Int8Array.of(1, -127, -128),
      momentum_scales: Uint8Array.of(130),
      correction: Int16Array.of(1, -2, 3),
    },
    "2": { momentum_buffer: Float64Array.of(0.1) },
    "3": { correction: Int8Array.of(-128, 127), shape: [1, 2] },
  },
  param_groups: [
    { ...GROUP, momentum_bits: 8, params: [0, 1], param_names: ["layer.w", "é"] },
    { ...GROUP, params: [2, 3], param_names: [null, "b"] },
  ],
  parameters: {
    "0": { data: Float32Array.of(1, 2), shape: [2, 1] },
    "3": { data: BFloat16Array.of(1, 2), shape: [1, 2] },
  },
  lr_scheduler: { last_epoch: 2, base_lrs: [0.1, 1], _last_lr: [0.05, 0.5], best: -0.5 },
  grad_scaler: {
    scale: 1024.5,
    growth_factor: 2,
    backoff_factor: 0.5,
    growth_interval: 7,
    _growth_tracker: 3,
  },
  metadata: { epoch: "3" },
});

/** A file with this header and so many bytes of data. */
export function fileOf(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** The header of a file with these tensors, valid but for what the caller changes. */
export function headerOf(
  tensors: string,
  groups = "[]",
  version = "1",
  others: { readonly lr_scheduler?: string; readonly grad_scaler?: string } = {},
): string {
  const format = "descent-sgd-state";
  const metadata = JSON.stringify({ format, version, param_groups: groups, ...others });
  return `{"__metadata__":${metadata}${tensors === "" ? "" : `,${tensors}`}}`;
}

/**
 * Decodes bytes and makes sure that they were refused in the right way, or rightly accepted.
 *
 * @returns Whether they were accepted.
 */
export function checkDecode(bytes: Uint8Array): boolean {
  let dict: StateDict;
  try {
    dict = decodeStateDict(bytes);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    assert(error.message.startsWith("Cannot read the checkpoint as "), error.message);
    assert(error.message.length < 2000, "the message is long");
    return false;
  }
  checkAccepted(bytes, dict);
  assertEquals(decodeStateDict(encodeStateDict(dict)), dict);
  return true;
}

/** What must hold of accepted bytes, read with `JSON.parse`. */
function checkAccepted(bytes: Uint8Array, dict: StateDict): void {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length));
  const { __metadata__: metadata, ...tensors } = JSON.parse(text);
  assertEquals(metadata.format, "descent-sgd-state");
  assert(["1", "2", "3"].includes(metadata.version));
  const groups = JSON.parse(metadata.param_groups);
  assertEquals(dict.param_groups, groups);
  const scheduler = metadata.lr_scheduler;
  assertEquals(dict.lr_scheduler, scheduler === undefined ? undefined : JSON.parse(scheduler));
  const scaler = metadata.grad_scaler;
  assertEquals(dict.grad_scaler, scaler === undefined ? undefined : JSON.parse(scaler));
  const names = new Map<string, string>();
  for (const { params, param_names } of groups) {
    params.forEach((index: number, i: number) => {
      names.set(String(index), param_names?.[i] ?? `param.${index}`);
    });
  }
  let end = 0;
  const entries = Object.entries(tensors) as [string, Info][];
  entries.sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || size(a) - size(b));
  for (const [, info] of entries) {
    assertEquals(info.data_offsets[0], end);
    const bits = BigInt(CLASSES[info.dtype].BYTES_PER_ELEMENT) * 8n;
    assertEquals(BigInt(size(info)) * 8n, info.shape.reduce((a, b) => a * BigInt(b), bits));
    end = info.data_offsets[1];
  }
  assertEquals(8 + length + end, bytes.length);
  const data = bytes.subarray(8 + length);
  const state = Object.entries(dict.state).flatMap(([index, entry]) => {
    checkPair(entry);
    const { shape: _, ...arrays } = entry;
    return Object.entries(arrays).map(([key, array]) => [`state.${index}.${key}`, array!] as const);
  });
  const parameters = Object.entries(dict.parameters ?? {}).map(([index, entry]) =>
    [names.get(index)!, entry.data] as const
  );
  assertEquals(state.length + parameters.length, entries.length);
  for (const [name, array] of [...state, ...parameters]) {
    const { dtype, data_offsets: [from, to] } = tensors[name];
    assertEquals(array.constructor, CLASSES[dtype as Info["dtype"]]);
    assertEquals(new Uint8Array(array.buffer), data.slice(from, to));
  }
}

/** What must hold of the state of a parameter. */
function checkPair(entry: StateDict["state"][string]): void {
  const { momentum8, momentum_scales: scales } = entry;
  assertEquals(momentum8 === undefined, scales === undefined);
  assert(!(momentum8 && entry.momentum_buffer), "there is momentum of both kinds");
  assert(!(entry.correction && entry.master_weight), "there are master weights of both kinds");
  if (!momentum8) return;
  assertEquals(scales!.length, Math.ceil(momentum8.length / 32));
  assert(scales!.every((scale) => scale === 0 || scale >= 18 && scale <= 248));
}

/** The arrays of a dtype. */
const CLASSES = {
  F32: Float32Array,
  F64: Float64Array,
  BF16: BFloat16Array,
  I8: Int8Array,
  U8: Uint8Array,
  I16: Int16Array,
} as const;

interface Info {
  dtype: keyof typeof CLASSES;
  shape: number[];
  data_offsets: [number, number];
}

function size({ data_offsets: [from, to] }: Info): number {
  return to - from;
}

/** Files: random ones, damaged ones, and ones whose every field may lie. */
export function hostileFiles(): fc.Arbitrary<Uint8Array> {
  return fc.oneof(
    { arbitrary: fc.uint8Array({ maxLength: 64 }), weight: 1 },
    {
      arbitrary: fc.string({ unit: "binary", maxLength: 60 }).map((text) => fileOf(text)),
      weight: 1,
    },
    { arbitrary: damagedFiles(), weight: 4 },
    { arbitrary: lyingFiles(), weight: 6 },
  );
}

function damagedFiles(): fc.Arbitrary<Uint8Array> {
  const at = fc.nat(VALID.length - 1);
  const interesting = fc.oneof(
    fc.constantFrom(...'0123456789{}[]",:\\-.eE \0\x7f\xff'.split(""), '"a":1,', "null", "1e999"),
    fc.string({ maxLength: 4 }),
  );
  const damage = fc.record({ at, remove: fc.nat(6), insert: interesting });
  return fc.tuple(fc.array(damage, { minLength: 1, maxLength: 3 }), fc.boolean()).map(
    ([damages, repair]) => {
      let bytes = [...VALID];
      const before = bytes.length;
      for (const { at, remove, insert } of damages) {
        const inserted = [...insert].map((char) => char.charCodeAt(0) & 255);
        bytes = bytes.toSpliced(at, remove, ...inserted);
      }
      const file = Uint8Array.from(bytes);
      // Half of the files announce the new length of the header, so that the damage is what counts.
      if (repair && file.length >= 8) {
        const view = new DataView(file.buffer);
        const length = new DataView(VALID.buffer).getBigUint64(0, true);
        view.setBigUint64(0, length + BigInt(bytes.length - before), true);
      }
      return file;
    },
  );
}

const NUMBERS = ["0", "1", "2", "3", "4", "8", "16", "-1", "-0", "0.5", "1e2", "1e999", "01"]
  .concat(["9007199254740991", "9007199254740993", "18446744073709551615", "null", '"4"', "[4]"]);
const NAMES = ["state.0.momentum_buffer", "state.1.momentum_buffer", "a", "b", "param.0"]
  .concat(["state.0.momentum8", "state.0.momentum_scales", "state.0.correction"])
  .concat(["param.1", "__proto__", "constructor", "__metadata__", "\\ud800", "\\u0061", ""]);

function lyingFiles(): fc.Arbitrary<Uint8Array> {
  const number = fc.oneof(
    { arbitrary: fc.constantFrom("0", "1", "2", "4", "8", "16"), weight: 8 },
    { arbitrary: fc.constantFrom(...NUMBERS), weight: 1 },
  );
  const name = fc.constantFrom(...NAMES);
  const dtype = fc.oneof(
    { arbitrary: fc.constantFrom('"F32"', '"F64"'), weight: 9 },
    { arbitrary: fc.constantFrom('"I8"', '"U8"', '"I16"'), weight: 4 },
    {
      arbitrary: fc.constantFrom('"BF16"', '"I64"', '"F4"', '""', "null", "3"),
      weight: 1,
    },
  );
  const numbers = (limit: number) =>
    fc.array(number, { maxLength: limit }).map((items) => `[${items}]`);
  const honest = fc.oneof(
    {
      arbitrary: fc.record({ name, count: fc.nat(4), dtype: fc.constantFrom("F32", "F64") })
        .map((item) => [item]),
      weight: 3,
    },
    { arbitrary: codedState(), weight: 1 },
  );
  const tensors = fc.oneof(
    fc.array(honest, { maxLength: 4 }).map(contiguous),
    fc.array(
      fc.record({ name, dtype, shape: numbers(3), offsets: numbers(3) }),
      { maxLength: 3 },
    ).map((list) => ({
      text: list.map(({ name, dtype, shape, offsets }) =>
        `"${name}":{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`
      ).join(","),
      bytes: 16,
    })),
  );
  const lengths = fc.constantFrom(0, 0, 0, 1, -1, 8);
  return fc.tuple(tensors, lyingGroups(number, name), lyingSchedulers(number), lengths).map((
    [{ text, bytes }, groups, scheduler, off],
  ) => fileOf(headerOf(text, groups, "1", { lr_scheduler: scheduler }), Math.max(0, bytes + off)));
}

/** Mostly none, so that the rest of the file is what counts. */
function lyingSchedulers(number: fc.Arbitrary<string>): fc.Arbitrary<string | undefined> {
  const list = fc.array(number, { maxLength: 2 }).map((items) => `[${items}]`);
  const lists = fc.oneof({ arbitrary: list, weight: 8 }, { arbitrary: number, weight: 1 });
  const others = fc.constantFrom("", "", ',"best":1', ',"gamma":[1]', ',"__proto__":1', ",");
  const scheduler = fc.tuple(number, lists, lists, others).map(([epoch, base, last, others]) =>
    `{"last_epoch":${epoch},"base_lrs":${base},"_last_lr":${last}${others}}`
  );
  return fc.option(scheduler, { nil: undefined, freq: 2 });
}

/** A tensor that is what it says. */
interface Honest {
  readonly name: string;
  readonly count: number;
  readonly dtype: string;
}

/** Momentum in 8 bits and corrections, of which something may be missing or too long. */
function codedState(): fc.Arbitrary<Honest[]> {
  const index = fc.constantFrom(0, 0, 0, 1);
  const count = fc.constantFrom(0, 3, 32, 33);
  const kept = fc.array(fc.constantFrom(true, true, true, false), { minLength: 3, maxLength: 3 });
  const more = fc.constantFrom(0, 0, 0, 0, 1);
  return fc.record({ index, count, kept, more, dtype: fc.constantFrom("I8", "I16") }).map(
    ({ index, count, kept, more, dtype }) =>
      [
        { name: `state.${index}.momentum8`, count, dtype: "I8" },
        {
          name: `state.${index}.momentum_scales`,
          count: Math.ceil(count / 32) + more,
          dtype: "U8",
        },
        { name: `state.${index}.correction`, count, dtype },
      ].filter((_, i) => kept[i]),
  );
}

function contiguous(lists: readonly (readonly Honest[])[]) {
  let end = 0;
  const text = lists.flat().map(({ name, count, dtype }) => {
    const start = end;
    end += count * CLASSES[dtype as Info["dtype"]].BYTES_PER_ELEMENT;
    return `"${name}":{"dtype":"${dtype}","shape":[${count}],"data_offsets":[${start},${end}]}`;
  }).join(",");
  return { text, bytes: end };
}

function lyingGroups(
  number: fc.Arbitrary<string>,
  name: fc.Arbitrary<string>,
): fc.Arbitrary<string> {
  const item = fc.oneof(
    { arbitrary: name.map((name) => `"${name}"`), weight: 4 },
    { arbitrary: fc.constantFrom("null", "1"), weight: 1 },
  );
  const names = fc.array(item, { maxLength: 3 }).map((items) => `,"param_names":[${items}]`);
  const params = fc.oneof(
    fc.constantFrom("[0]", "[0,1]", "[1,0]", "[]"),
    fc.array(number, { maxLength: 3 }).map((items) => `[${items}]`),
  );
  const others = fc.constantFrom(
    "",
    "",
    ',"fused":null',
    ',"momentum_bits":8',
    ',"lr":0.5',
    ',"__proto__":1',
    ',"a":{}',
  );
  const group = fc.tuple(number, params, fc.option(names, { nil: "" }), others).map(
    ([lr, params, names, others]) =>
      `{"lr":${lr},"momentum":0,"dampening":0,"weight_decay":0,"params":${params}${names}${others}}`,
  );
  return fc.array(group, { maxLength: 2 }).map((groups) => `[${groups}]`);
}
