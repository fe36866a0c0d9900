/** Files that mean harm, and an oracle that knows nothing of Descent's own reader. */

import { assert, assertEquals } from "@std/assert";
import { CheckpointError, decodeStateDict, encodeStateDict } from "@descent/sgd";
import type { StateDict } from "@descent/sgd";
import fc from "fast-check";

const GROUP = { lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, nesterov: true };

/** A small file with all that a file may hold. */
export const VALID: Uint8Array = encodeStateDict({
  state: {
    "0": { momentum_buffer: Float32Array.of(0.1, 0.2), shape: [2, 1] },
    "2": { momentum_buffer: Float64Array.of(0.1) },
  },
  param_groups: [
    { ...GROUP, params: [0, 1], param_names: ["layer.w", "é"] },
    { ...GROUP, params: [2, 3], param_names: [null, "b"] },
  ],
  parameters: { "0": { data: Float32Array.of(1, 2), shape: [2, 1] } },
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
  assert(["1", "2"].includes(metadata.version));
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
    const bits = { F32: 32n, F64: 64n }[info.dtype]!;
    assertEquals(BigInt(size(info)) * 8n, info.shape.reduce((a, b) => a * BigInt(b), bits));
    end = info.data_offsets[1];
  }
  assertEquals(8 + length + end, bytes.length);
  const data = bytes.subarray(8 + length);
  const state = Object.entries(dict.state).map(([index, entry]) =>
    [`state.${index}.momentum_buffer`, entry.momentum_buffer!] as const
  );
  const parameters = Object.entries(dict.parameters ?? {}).map(([index, entry]) =>
    [names.get(index)!, entry.data] as const
  );
  assertEquals(state.length + parameters.length, entries.length);
  for (const [name, array] of [...state, ...parameters]) {
    const { dtype, data_offsets: [from, to] } = tensors[name];
    assertEquals(dtype, array instanceof Float32Array ? "F32" : "F64");
    assertEquals(new Uint8Array(array.buffer), data.slice(from, to));
  }
}

interface Info {
  dtype: "F32" | "F64";
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
  .concat(["param.1", "__proto__", "constructor", "__metadata__", "\\ud800", "\\u0061", ""]);

function lyingFiles(): fc.Arbitrary<Uint8Array> {
  const number = fc.oneof(
    { arbitrary: fc.constantFrom("0", "1", "2", "4", "8", "16"), weight: 8 },
    { arbitrary: fc.constantFrom(...NUMBERS), weight: 1 },
  );
  const name = fc.constantFrom(...NAMES);
  const dtype = fc.oneof(
    { arbitrary: fc.constantFrom('"F32"', '"F64"'), weight: 9 },
    {
      arbitrary: fc.constantFrom('"F16"', '"BF16"', '"I64"', '"F4"', '""', "null", "3"),
      weight: 1,
    },
  );
  const numbers = (limit: number) =>
    fc.array(number, { maxLength: limit }).map((items) => `[${items}]`);
  const honest = fc.record({ name, count: fc.nat(4), wide: fc.boolean() });
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

function contiguous(list: readonly { name: string; count: number; wide: boolean }[]) {
  let end = 0;
  const text = list.map(({ name, count, wide }) => {
    const start = end;
    end += count * (wide ? 8 : 4);
    const dtype = wide ? "F64" : "F32";
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
  const others = fc.constantFrom("", "", ',"fused":null', ',"lr":0.5', ',"__proto__":1', ',"a":{}');
  const group = fc.tuple(number, params, fc.option(names, { nil: "" }), others).map(
    ([lr, params, names, others]) =>
      `{"lr":${lr},"momentum":0,"dampening":0,"weight_decay":0,"params":${params}${names}${others}}`,
  );
  return fc.array(group, { maxLength: 2 }).map((groups) => `[${groups}]`);
}
