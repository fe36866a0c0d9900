/** Reads the header of a file as a state dict. */

import type { HostArray } from "../core/host_array.ts";
import { quote } from "../core/validate.ts";
import { checkCorrected, checkForms, checkScales, SHAPELESS } from "../state/check_arrays.ts";
import { checkGroup } from "../state/dict.ts";
import type { CheckedGroup, ParamGroupStateDict, StateDict, TensorDict } from "../state/dict.ts";
import { checkRowCount, checkRowFlags } from "../state/rows_in_use.ts";
import { STORED_TYPES } from "../state/stored_array.ts";
import type { StoredArray } from "../state/stored_array.ts";
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
} from "./extras_json.ts";
import { FORMAT, RESERVED, VERSION } from "./format.ts";
import { JsonReader } from "./json.ts";
import type { Scalar } from "./json.ts";
import { readHeader, sortByPlace } from "./safetensors.ts";
import type { Header } from "./safetensors.ts";
import { Slots } from "./slots.ts";
import type { Slot } from "./slots.ts";

/** A state dict whose arrays are still to be filled from the data of a file. */
export interface Unfilled {
  /** The dict. */
  readonly dict: StateDict;
  /** The memory of its arrays, in the order of the file; together it is all of the data. */
  readonly memory: readonly Uint8Array[];
  /**
   * Checks the elements, once they are there.
   *
   * @throws {CheckpointError} If they cannot be what they are said to be.
   */
  check(): void;
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
  return { dict, memory, check: () => checkElements(dict, places) };
}

/**
 * Puts tensors into a dict, in the order of the groups: V8 keeps objects whose indices come in order
 * as arrays, and others as much slower tables.
 */
function addTensors(
  dict: StateDict,
  places: readonly Place[],
  arrays: readonly StoredArray[],
): void {
  const states = new Map<number, StateDict["state"][number]>();
  const parameters = new Map<number, TensorDict>();
  const shapeless: [Place, StoredArray][] = [];
  for (let i = 0; i < places.length; i++) {
    const { info, slot } = places[i];
    const data = arrays[i];
    const shape = info.shape.length === 1 ? undefined : info.shape;
    if (slot.kind === "parameter") {
      const values = data as HostArray;
      parameters.set(slot.index, shape === undefined ? { data: values } : { data: values, shape });
    } else if (SHAPELESS.includes(slot.kind)) shapeless.push([places[i], data]);
    else addState(states, places[i], data, shape);
  }
  for (const [place, data] of shapeless) addShapeless(states, place, data);
  const indices = dict.param_groups.flatMap(({ params }) => params);
  for (const index of states.size > 0 ? indices : []) {
    const state = states.get(index);
    if (state === undefined) continue;
    checkEntry(state, index, parameters);
    dict.state[index] = state;
  }
  if (parameters.size === 0) return;
  dict.parameters = {};
  for (const index of indices) {
    const tensor = parameters.get(index);
    if (tensor !== undefined) dict.parameters[index] = tensor;
  }
}

type Entry = StateDict["state"][number];

/** Adds an array of state. All of a parameter have one shape in the dict. */
function addState(
  states: Map<number, Entry>,
  { name, slot: { kind, index } }: Place,
  data: StoredArray,
  shape: readonly number[] | undefined,
): void {
  let state = states.get(index);
  if (state === undefined) {
    states.set(index, state = {});
    if (shape !== undefined) state.shape = shape;
  } else if (String(state.shape) !== String(shape)) {
    throw unreadable(
      `tensor ${quote(name)} must have the shape of the other state of its parameter`,
    );
  }
  (state as Record<string, unknown>)[kind] = data;
}

/** Adds an array of state whose shape is its own. */
function addShapeless(states: Map<number, Entry>, { name, slot, info }: Place, data: StoredArray) {
  if (info.shape.length !== 1) {
    throw unreadable(`the shape of tensor ${quote(name)} must have one dimension`);
  }
  let state = states.get(slot.index);
  if (state === undefined) states.set(slot.index, state = {});
  (state as Record<string, unknown>)[slot.kind] = data;
}

/** Checks that what there is of a parameter goes together. */
function checkEntry(
  state: Entry,
  index: number,
  parameters: ReadonlyMap<number, TensorDict>,
): void {
  const { momentum8, momentum_scales, correction, rows_in_use, momentum_buffer, shape } = state;
  if (rows_in_use) {
    check(
      "state is",
      () => checkRowCount(rows_in_use, momentum_buffer, shape, `state["${index}"]`),
    );
  }
  if ((momentum8 ?? momentum_scales ?? correction) === undefined) return;
  check("state is", () => checkForms(state, ["state", String(index)]));
  const own = parameters.get(index);
  if (!correction || own === undefined) return;
  check("parameters are", () => checkCorrected(own.data, ["parameters", String(index)]));
}

/** Checks the elements that are not numbers of their own. */
function checkElements({ state }: StateDict, places: readonly Place[]): void {
  for (const { name, slot } of places) {
    const { momentum_scales, rows_in_use } = state[slot.index] ?? {};
    const what = `tensor ${quote(name)}`;
    if (slot.kind === "momentum_scales") {
      check("state is", () => checkScales(momentum_scales!, what));
    }
    if (slot.kind === "rows_in_use") check("state is", () => checkRowFlags(rows_in_use!, what));
  }
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
    checked.push(check("param_groups are", () => checkGroup(group, position, indices)));
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

function check<T>(what: string, checks: () => T): T {
  try {
    return checks();
  } catch (cause) {
    throw unreadable(`its ${what} not valid: ${(cause as Error).message}`, cause);
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
    checkDtype(slot, info.dtype, name);
    places.push({ name, info, slot });
  }
  return sortByPlace(places, ({ info }) => info);
}

function checkDtype({ kind }: Slot, dtype: string, name: string): void {
  const types = STORED_TYPES[kind];
  if (types.includes(dtype)) return;
  const list = types.join(", ").replace(/, (\w+)$/, " or $1");
  throw unreadable(`the dtype of tensor ${quote(name)} must be ${list}: it is ${dtype}`);
}
