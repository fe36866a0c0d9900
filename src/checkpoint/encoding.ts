/** State dicts as safetensors: what is called what in a file. */

import type { HostArray } from "../core/host_array.ts";
import { byteLengthOf, lengthOf, tagOf } from "../core/intrinsics.ts";
import { cannot, quote, wrongType } from "../core/validate.ts";
import { checkGroup, checkStateDict, KEYS } from "../state/dict.ts";
import type {
  CheckedDict,
  CheckedGroup,
  CheckedTensor,
  ParamGroupStateDict,
  StateDict,
  TensorDict,
} from "../state/dict.ts";
import { METADATA } from "../state/tensor_names.ts";
import { allocateAll } from "./arrays.ts";
import type { Described } from "./arrays.ts";
import { unreadable } from "./errors.ts";
import {
  readRounding,
  readScaler,
  readScheduler,
  ROUNDING,
  SCALER,
  SCHEDULER,
  writeRounding,
  writeScaler,
  writeScheduler,
} from "./extras_json.ts";
import { JsonReader, MAX_VALUES, writeScalar } from "./json.ts";
import type { Scalar } from "./json.ts";
import {
  bytesOf,
  checkLimit,
  layOut,
  PREFIX,
  readHeader,
  readHeaderLength,
  sortByPlace,
} from "./safetensors.ts";
import type { Header, Layout } from "./safetensors.ts";
import { Slots } from "./slots.ts";
import type { Slot } from "./slots.ts";
import type { Tensor } from "./tensor_order.ts";

const FORMAT = "descent-sgd-state";

/** Version 2 has null in `param_names`. */
const VERSION = 2;

const RESERVED = ["format", "version", "param_groups", ROUNDING, SCHEDULER, SCALER];

/** A state dict whose arrays are still to be filled from the data of a file. */
export interface Unfilled {
  /** The dict. */
  readonly dict: StateDict;
  /** The memory of its arrays, in the order of the file; together it is all of the data. */
  readonly memory: readonly Uint8Array[];
}

/**
 * Encodes a state dict as a safetensors file, which every safetensors library reads.
 *
 * Momentum buffers are the tensors `state.<index>.momentum_buffer`, master weights
 * `state.<index>.master_weight`. Parameters, if the dict has them, go under their own names, or as
 * `param.<index>` if they have none. Hyperparameters are JSON under `param_groups` in the file's
 * metadata, and so are, if the dict has them, the seed and counter of stochastic rounding and
 * the states of a scheduler and a scaler, under `rounding`, `lr_scheduler` and `grad_scaler`, beside
 * `format`, `version` and the caller's own metadata. Numbers survive exactly, and the same dict
 * always gives the same bytes.
 *
 * @param dict The state dict.
 * @returns The bytes of the file.
 * @throws {TypeError} If the dict is not valid or two tensors have the same name.
 * @throws {RangeError} If a value is out of range, or a limit of the format or its reader is passed:
 * 64 dimensions, 250,000 tensors, 4 million keys and items, a header of 100 MB.
 *
 * @example
 * ```ts
 * import { decodeStateDict, encodeStateDict, SGD } from "@descent/sgd";
 *
 * const w = { data: new Float32Array([1, 2]), grad: new Float32Array([0.5, -0.5]) };
 * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
 * optimizer.step();
 * const bytes = encodeStateDict(optimizer.stateDict());
 * optimizer.loadStateDict(decodeStateDict(bytes));
 * ```
 *
 * @category Checkpoints
 */
export function encodeStateDict(dict: StateDict): Uint8Array<ArrayBuffer> {
  const { head, tensors, size } = layOutState(dict);
  const bytes = new Uint8Array(size);
  bytes.set(head);
  let at = head.length;
  for (const { array } of tensors) {
    bytes.set(bytesOf(array), at);
    at += byteLengthOf(array);
  }
  return bytes;
}

/**
 * Decodes what `encodeStateDict` has made, or a tool that keeps to the same names. The bytes may be
 * hostile: everything is checked before it is used.
 *
 * @param bytes The bytes of the file; the dict does not share them.
 * @throws {CheckpointError} If they are not a valid state; the message names the place.
 * @throws {TypeError} If `bytes` is not a Uint8Array.
 *
 * @example
 * ```ts
 * import { decodeStateDict, encodeStateDict } from "@descent/sgd";
 *
 * const group = { lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, params: [0] };
 * const dict = decodeStateDict(encodeStateDict({ state: {}, param_groups: [group] }));
 * console.log(dict.param_groups[0].lr); // 0.1
 * ```
 *
 * @category Checkpoints
 */
export function decodeStateDict(bytes: Uint8Array): StateDict {
  if (tagOf(bytes) !== "Uint8Array") {
    throw wrongType("decode", "bytes must be a Uint8Array", bytes);
  }
  const all = bytesOf(bytes);
  const length = readHeaderLength(all.subarray(0, PREFIX), all.length);
  let at = PREFIX + length;
  const { dict, memory } = readState(all.subarray(PREFIX, at), all.length - at);
  for (const part of memory) part.set(all.subarray(at, at += part.length));
  return dict;
}

/**
 * Lays out the file of a state dict without copying its arrays.
 *
 * @throws {TypeError} If the dict is not valid or two tensors have the same name.
 * @throws {RangeError} If a value is out of range, or a limit of the format or its reader is passed:
 * 64 dimensions, 250,000 tensors, 4 million keys and items, a header of 100 MB.
 */
export function layOutState(dict: unknown): Layout {
  const checked = checkStateDict(dict);
  checkLimit("param_groups", MAX_VALUES, "keys and items", countValues(checked.groups));
  const tensors = nameTensors(checked);
  const notes = [...checked.metadata].sort(([a], [b]) => a < b ? -1 : 1);
  for (const [key] of notes) {
    if (RESERVED.includes(key)) {
      throw new TypeError(cannot("encode the state", `the key metadata.${key} is Descent's own`));
    }
  }
  return layOut(
    tensors,
    Object.fromEntries([
      ["format", FORMAT],
      ["version", String(VERSION)],
      ["param_groups", `[${checked.groups.map(writeGroup).join(",")}]`],
      ...(checked.rounding === null ? [] : [[ROUNDING, writeRounding(checked.rounding)]]),
      ...(checked.scheduler === null ? [] : [[SCHEDULER, writeScheduler(checked.scheduler)]]),
      ...(checked.scaler === null ? [] : [[SCALER, writeScaler(checked.scaler)]]),
      ...notes,
    ]),
  );
}

/**
 * Reads the header of a file as a state dict with arrays to be filled.
 *
 * @param header The bytes of the header.
 * @param dataSize Bytes after it; memory for as many is made here, once all is checked.
 * @throws {CheckpointError} If it is not a valid state; the message names the place.
 */
export function readState(header: Uint8Array, dataSize: number): Unfilled {
  const { metadata, tensors } = readHeader(header, dataSize);
  checkVersion(metadata);
  const { param_groups, checked } = readGroups(metadata.get("param_groups"));
  const dict: StateDict = { state: {}, param_groups };
  const rounding = metadata.get(ROUNDING);
  if (rounding !== undefined) dict.rounding = readRounding(rounding);
  const scheduler = metadata.get(SCHEDULER);
  if (scheduler !== undefined) dict.lr_scheduler = readScheduler(scheduler);
  const scaler = metadata.get(SCALER);
  if (scaler !== undefined) dict.grad_scaler = readScaler(scaler);
  const places = place(tensors, new Slots(checked));
  const { arrays, memory } = allocateAll(places);
  addTensors(dict, places, arrays);
  const notes = [...metadata].filter(([key]) => !RESERVED.includes(key));
  if (notes.length > 0) dict.metadata = Object.fromEntries(notes);
  return { dict, memory };
}

/**
 * Puts tensors into a dict, in the order of the groups: V8 keeps objects whose indices come in order
 * as arrays, and others as much slower tables.
 */
function addTensors(dict: StateDict, places: readonly Place[], arrays: readonly HostArray[]): void {
  const states = new Map<number, StateDict["state"][number]>();
  const parameters = new Map<number, TensorDict>();
  for (let i = 0; i < places.length; i++) {
    const { name, info, slot } = places[i];
    const data = arrays[i];
    const tensor = info.shape.length === 1 ? { data } : { data, shape: info.shape };
    if (slot.kind === "parameter") parameters.set(slot.index, tensor);
    else addState(states, slot, tensor, name);
  }
  const indices = dict.param_groups.flatMap(({ params }) => params);
  for (const index of states.size > 0 ? indices : []) {
    const state = states.get(index);
    if (state !== undefined) dict.state[index] = state;
  }
  if (parameters.size === 0) return;
  dict.parameters = {};
  for (const index of indices) {
    const tensor = parameters.get(index);
    if (tensor !== undefined) dict.parameters[index] = tensor;
  }
}

/** Adds a momentum buffer or a master weight, which have one shape in the dict. */
function addState(
  states: Map<number, StateDict["state"][number]>,
  { kind, index }: Slot,
  { data, shape }: TensorDict,
  name: string,
): void {
  if (kind === "master" && !(data instanceof Float32Array)) {
    throw unreadable(`the dtype of tensor ${quote(name)} must be F32`);
  }
  let state = states.get(index);
  if (state === undefined) states.set(index, state = {});
  else if (String(state.shape) !== String(shape)) {
    throw unreadable(
      `tensor ${quote(name)} must have the shape of the other state of its parameter`,
    );
  }
  if (kind === "buffer") state.momentum_buffer = data;
  else state.master_weight = data as Float32Array;
  if (shape !== undefined) state.shape = shape;
}

/** All tensors of a dict, each under its name in the file. */
function nameTensors(dict: CheckedDict): Tensor[] {
  const { groups, buffers, masters, parameters } = dict;
  const slots = new Slots(groups);
  const { doubled } = slots;
  const tensors: Tensor[] = [];
  const add = (kind: Slot["kind"], held: ReadonlyMap<number, CheckedTensor>) => {
    for (const [index, { data, shape }] of held) {
      const name = slots.nameOf(kind, index);
      const isDoubled = doubled.size > 0 && doubled.has(name!);
      if (name === undefined || isDoubled) throw unplaced(dict, slots);
      if (name === METADATA) {
        throw new TypeError(cannot("encode the state", `no parameter may be called "${METADATA}"`));
      }
      tensors.push({ name, array: data, shape: shape ?? [lengthOf(data)] });
    }
  };
  add("buffer", buffers);
  add("master", masters);
  add("parameter", parameters);
  return tensors;
}

/** Says which tensor has no place in the file: of no group, or of a doubled name. */
function unplaced({ buffers, masters, parameters }: CheckedDict, slots: Slots): TypeError {
  const indices = [buffers, masters, parameters].flatMap((held) => [...held.keys()]);
  const strays = indices.filter((index) => slots.nameOf("buffer", index) === undefined);
  return new TypeError(
    strays.length > 0
      ? cannot("encode the state", `no group has the parameters ${strays.join(", ")}`)
      : cannot(
        "encode the state",
        "the names of tensors must differ",
        [...slots.doubled].map(quote).join(", "),
      ),
  );
}

/** The keys and items of the groups as JSON. */
function countValues(groups: readonly CheckedGroup[]): number {
  return groups.reduce((total, { values, others, params, names }) => {
    const keys = Object.keys(values).length + others.length + (names === null ? 1 : 2);
    return total + 1 + keys + params.length + (names?.length ?? 0);
  }, 0);
}

function writeGroup({ values, others, params, names }: CheckedGroup): string {
  const known = Object.entries(KEYS).map(([name, key]) => [key, Object(values)[name]] as const);
  const entries = [...known, ...[...others].sort(([a], [b]) => a < b ? -1 : 1)]
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${JSON.stringify(key)}:${writeScalar(key, value)}`);
  entries.push(`"params":${JSON.stringify(params)}`);
  if (names !== null) entries.push(`"param_names":${JSON.stringify(names)}`);
  return `{${entries.join(",")}}`;
}

function checkVersion(metadata: ReadonlyMap<string, string>): void {
  const format = metadata.get("format");
  if (format !== FORMAT) {
    const found = format === undefined ? "there is none" : `it is ${quote(format)}`;
    throw unreadable(`the format in its metadata must be "${FORMAT}": ${found}`);
  }
  const version = metadata.get("version") ?? "";
  if (!/^[1-9][0-9]{0,8}$/.test(version)) {
    throw unreadable(`the version in its metadata must be a number: it is ${quote(version)}`);
  }
  if (Number(version) > VERSION) {
    throw unreadable(
      `it has version ${version} of its format, and this release of Descent knows versions up to ` +
        `${VERSION}: update Descent`,
    );
  }
}

function readGroups(json: string | undefined) {
  if (json === undefined) throw unreadable("its metadata has no param_groups");
  const reader = new JsonReader(json, "param_groups");
  const param_groups: ParamGroupStateDict[] = [];
  const checked: CheckedGroup[] = [];
  const indices = new Set<number>();
  reader.array((position) => {
    const entries: [string, unknown][] = [];
    reader.object((key) => entries.push([key, readGroupValue(reader, key)]));
    const group = Object.fromEntries(entries) as ParamGroupStateDict;
    checked.push(check(() => checkGroup(group, position, indices)));
    param_groups.push(group);
  });
  reader.end();
  return { param_groups, checked };
}

function readGroupValue(reader: JsonReader, key: string): unknown {
  if (key !== "params" && key !== "param_names") return reader.scalar();
  const values: Scalar[] = [];
  reader.array(() => values.push(key === "params" ? reader.count() : readName(reader)));
  return values;
}

/** A name, or null. */
function readName(reader: JsonReader): Scalar {
  const name = reader.scalar();
  if (name === null || typeof name === "string") return name;
  throw reader.error("there must be a name or null before this place");
}

function check<T>(checks: () => T): T {
  try {
    return checks();
  } catch (cause) {
    throw unreadable(`its param_groups are not valid: ${(cause as Error).message}`, cause);
  }
}

/** A tensor of a file, and what it is. */
interface Place extends Described {
  readonly slot: Slot;
}

/** Finds what the tensors are, in the order of the file. */
function place(tensors: Header["tensors"], slots: Slots): Place[] {
  const places: Place[] = [];
  for (const [name, info] of tensors) {
    const slot = slots.find(name);
    if (slot === undefined) throw unreadable(`its tensor ${quote(name)} belongs to no parameter`);
    if (slot === null) throw unreadable(`several parameters are called ${quote(name)}`);
    places.push({ name, info, slot });
  }
  return sortByPlace(places, ({ info }) => info);
}
