/** Reads the header of a file as a state dict. */

import type { HostArray } from "../core/host_array.ts";
import { quote } from "../core/validate.ts";
import { checkCorrected, checkForms, checkScales, SHAPELESS } from "../state/check_arrays.ts";
import { checkGroup } from "../state/dict.ts";
import type { CheckedGroup, ParamGroupStateDict, StateDict, TensorDict } from "../state/dict.ts";
import { checkRowCount, checkRowFlags } from "../state/rows_in_use.ts";
import { STORED_TYPES } from "../state/stored_array.ts";
import type { StoredArray } from "../state/stored_array.ts";
import { stateName } from "../state/tensor_names.ts";
import type { StateKey } from "../state/tensor_names.ts";
import { allocateAll, stateArrayType } from "./arrays.ts";
import { AVERAGE, collectAverages, readAverageHead } from "./average_json.ts";
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
import { readHeader } from "./safetensors.ts";
import type { Header } from "./safetensors.ts";
import { Slots } from "./slots.ts";
import type { Slot } from "./slots.ts";
import type { Described } from "./tensor_fields.ts";

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
  const { metadata, tensors } = readHeader(header, dataSize, true);
  checkFormat(metadata, tensors.length > 0);
  checkVersion(metadata);
  const { param_groups, checked } = readGroups(metadata.get("param_groups"));
  const dict: StateDict = { state: {}, param_groups };
  const rounding = metadata.get(ROUNDING);
  if (rounding !== undefined) dict.rounding = readRounding(rounding);
  const scheduler = metadata.get(SCHEDULER);
  if (scheduler !== undefined) dict.lr_scheduler = readScheduler(scheduler);
  const scaler = metadata.get(SCALER);
  if (scaler !== undefined) dict.grad_scaler = readScaler(scaler);
  const average = metadata.has(AVERAGE) ? readAverageHead(metadata.get(AVERAGE)!) : null;
  const slots = new Slots(checked, average?.size);
  const found = findSlots(tensors, slots);
  const { arrays, memory } = allocateAll(tensors, stateArrayType);
  const members = collect(tensors, found, arrays, slots.indices.length);
  addMembers(dict, slots.indices, members);
  if (average !== null) dict.weight_average = collectAverages(tensors, found, arrays, average);
  const notes = [...metadata].filter(([key]) => !RESERVED.includes(key));
  if (notes.length > 0) dict.metadata = Object.fromEntries(notes);
  return { dict, memory, check: () => checkElements(slots.indices, members) };
}

type Entry = StateDict["state"][number];

/** What a file has of each parameter, in the order of the groups; undefined where there is nothing. */
interface Members {
  readonly states: (Entry | undefined)[];
  readonly parameters: (TensorDict | undefined)[];
}

/** Collects tensors by parameter. Who adds a second one of a kind has its name twice in the file. */
function collect(
  tensors: Header["tensors"],
  slots: readonly Slot[],
  arrays: readonly StoredArray[],
  count: number,
): Members {
  const states: Members["states"] = new Array(count).fill(undefined);
  const parameters: Members["parameters"] = new Array(count).fill(undefined);
  const shapeless: number[] = [];
  for (let i = 0; i < tensors.length; i++) {
    const { kind, place } = slots[i];
    const { name, info } = tensors[i];
    const shape = info.shape.length === 1 ? undefined : info.shape;
    if (kind === "average") continue;
    if (kind !== "parameter" && SHAPELESS.includes(kind)) shapeless.push(i);
    else if (kind !== "parameter") {
      states[place] = withArray(states[place], kind, arrays[i], shape, name);
    } else if (parameters[place] !== undefined) throw doubled(name);
    else {
      const data = arrays[i] as HostArray;
      parameters[place] = shape === undefined ? { data } : { data, shape };
    }
  }
  for (const i of shapeless) {
    const { kind, place } = slots[i];
    addShapeless(states[place] ??= {}, kind as StateKey, tensors[i], arrays[i]);
  }
  return { states, parameters };
}

/** State with one more array. All of a parameter have one shape in the dict. */
function withArray(
  state: Entry | undefined,
  kind: StateKey,
  data: StoredArray,
  shape: readonly number[] | undefined,
  name: string,
): Entry {
  if (state === undefined) {
    const entry = { [kind]: data };
    return shape === undefined ? entry : { ...entry, shape };
  }
  if (state[kind] !== undefined) throw doubled(name);
  if (String(state.shape) !== String(shape)) {
    throw unreadable(
      `tensor ${quote(name)} must have the shape of the other state of its parameter`,
    );
  }
  return Object.assign(state, { [kind]: data });
}

/** Adds an array of state whose shape is its own. */
function addShapeless(
  state: Entry,
  kind: StateKey,
  { name, info }: Described,
  data: StoredArray,
): void {
  if (state[kind] !== undefined) throw doubled(name);
  if (info.shape.length !== 1) {
    throw unreadable(`the shape of tensor ${quote(name)} must have one dimension`);
  }
  Object.assign(state, { [kind]: data });
}

function doubled(name: string): Error {
  return unreadable(`its header is not valid: the key ${quote(name)} is duplicated`);
}

/**
 * Puts what was collected into a dict, in the order of the groups: V8 keeps objects whose indices come
 * in order as arrays, and others as much slower tables.
 */
function addMembers(
  dict: StateDict,
  indices: readonly number[],
  { states, parameters }: Members,
): void {
  const values: NonNullable<StateDict["parameters"]> = {};
  let isValued = false;
  for (let place = 0; place < indices.length; place++) {
    const [state, own] = [states[place], parameters[place]];
    const index = indices[place];
    if (state !== undefined) {
      checkEntry(state, index, own);
      dict.state[index] = state;
    }
    if (own === undefined) continue;
    values[index] = own;
    isValued = true;
  }
  if (isValued) dict.parameters = values;
}

/** Checks that what there is of a parameter goes together. */
function checkEntry(state: Entry, index: number, own: TensorDict | undefined): void {
  const { momentum8, momentum_scales, correction, rows_in_use, momentum_buffer, shape } = state;
  if (rows_in_use) {
    const what = `state["${index}"]`;
    check("state is", () => checkRowCount(rows_in_use, momentum_buffer, shape, what));
  }
  if ((momentum8 ?? momentum_scales ?? correction) === undefined) return;
  check("state is", () => checkForms(state, ["state", String(index)]));
  if (!correction || own === undefined) return;
  check("parameters are", () => checkCorrected(own.data, ["parameters", String(index)]));
}

/** Checks the elements that are not numbers of their own. */
function checkElements(indices: readonly number[], { states }: Members): void {
  for (let place = 0; place < indices.length; place++) {
    const { momentum_scales, rows_in_use } = states[place] ?? {};
    const nameOf = (key: StateKey) => `tensor ${quote(stateName(key, indices[place]))}`;
    if (momentum_scales) {
      check("state is", () => checkScales(momentum_scales, () => nameOf("momentum_scales")));
    }
    if (rows_in_use) check("state is", () => checkRowFlags(rows_in_use, nameOf("rows_in_use")));
  }
}

/** Refuses a file of another format; most of them are safetensors with the weights of a model. */
function checkFormat(metadata: ReadonlyMap<string, string>, hasTensors: boolean): void {
  const format = metadata.get("format");
  if (format === FORMAT) return;
  const found = format === undefined ? "there is none" : `it is ${quote(format)}`;
  const reason = `the format in its metadata must be "${FORMAT}": ${found}`;
  if (!hasTensors || metadata.has("param_groups")) throw unreadable(reason);
  throw unreadable(
    "it holds weights alone, without the state of an optimizer: use loadTensors of " +
      `@descent/sgd/safetensors, or save it without state: false (${reason})`,
  );
}

function checkVersion(metadata: ReadonlyMap<string, string>): void {
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

/** Finds what the tensors are. */
function findSlots(tensors: Header["tensors"], slots: Slots): Slot[] {
  return tensors.map(({ name, info }) => {
    const slot = slots.find(name);
    if (slot === undefined) throw unreadable(`its tensor ${quote(name)} belongs to no parameter`);
    if (slot === null) throw unreadable(`several parameters are called ${quote(name)}`);
    checkDtype(slot, info.dtype, name);
    return slot;
  });
}

function checkDtype({ kind }: Slot, dtype: string, name: string): void {
  const types = STORED_TYPES[kind];
  if (types.includes(dtype)) return;
  const list = types.join(", ").replace(/, (\w+)$/, " or $1");
  throw unreadable(`the dtype of tensor ${quote(name)} must be ${list}: it is ${dtype}`);
}
