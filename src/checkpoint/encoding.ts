/** State dicts as safetensors: what is called what in a file. */

import { byteLengthOf, lengthOf, tagOf } from "../core/intrinsics.ts";
import { cannot, quote, wrongType } from "../core/validate.ts";
import type { CheckedTensor } from "../state/check_arrays.ts";
import { checkStateDict, KEYS } from "../state/dict.ts";
import type { CheckedDict, CheckedGroup, StateDict } from "../state/dict.ts";
import type { StoredArray } from "../state/stored_array.ts";
import { METADATA, STATE_KEYS } from "../state/tensor_names.ts";
import type { TensorKind } from "../state/tensor_names.ts";
import { AVERAGE, writeAverageHead } from "./average_json.ts";
import {
  ROUNDING,
  SCALER,
  SCHEDULER,
  writeRounding,
  writeScaler,
  writeScheduler,
} from "./extras_json.ts";
import { FORMAT, RESERVED, VERSION } from "./format.ts";
import { MAX_VALUES, writeScalar } from "./json.ts";
import { readState } from "./read_state.ts";
import { bytesOf, checkLimit, layOut, PREFIX, readHeaderLength } from "./safetensors.ts";
import type { Layout } from "./safetensors.ts";
import { Slots } from "./slots.ts";
import { byDtype } from "./tensor_order.ts";
import type { Tensor } from "./tensor_order.ts";

/** The version of files without averaged weights. */
const VERSION_WITHOUT_AVERAGE = 3;

/** The version of files without momentum in 8 bits, corrections and rows in use, too. */
const BASIC_VERSION = 2;

/**
 * Encodes a state dict as a safetensors file, which every safetensors library reads.
 *
 * Momentum buffers are the tensors `state.<index>.momentum_buffer`, master weights
 * `state.<index>.master_weight`; of momentum in 8 bits they are `state.<index>.momentum8` and
 * `state.<index>.momentum_scales`, of split master weights `state.<index>.correction`. Parameters, if the dict has them, go under their own names, or as
 * `param.<index>` if they have none. Hyperparameters are JSON under `param_groups` in the file's
 * metadata, and so are, if the dict has them, the seed and counter of stochastic rounding and
 * the states of a scheduler and a scaler, under `rounding`, `lr_scheduler` and `grad_scaler`. Averaged
 * weights are the tensors `average.<index>`, with JSON under `weight_average`. Beside them are
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
  const { dict, memory, check } = readState(all.subarray(PREFIX, at), all.length - at);
  for (const part of memory) part.set(all.subarray(at, at += part.length));
  check();
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
      ["version", String(versionFor(checked))],
      ["param_groups", `[${checked.groups.map(writeGroup).join(",")}]`],
      ...(checked.rounding === null ? [] : [[ROUNDING, writeRounding(checked.rounding)]]),
      ...(checked.scheduler === null ? [] : [[SCHEDULER, writeScheduler(checked.scheduler)]]),
      ...(checked.scaler === null ? [] : [[SCALER, writeScaler(checked.scaler)]]),
      ...(checked.average === null ? [] : [[AVERAGE, writeAverageHead(checked.average)]]),
      ...notes,
    ]),
  );
}

/**
 * Lays out a file of a dict's parameters alone. Its `format` says, unless the dict's notes do, that its
 * tensors are laid out as torch's: some readers take no others.
 *
 * @throws {TypeError} If the dict is not valid or has no parameters, or two of them have the same name.
 * @throws {RangeError} If a limit of the format or its reader is passed.
 */
export function layOutWeights(dict: unknown): Layout {
  const checked = checkStateDict(dict);
  if (checked.parameters.size === 0) {
    throw new TypeError(cannot("save the weights", "the state dict has no parameters"));
  }
  const notes: (readonly [string, string])[] = [["format", "pt"], ...checked.metadata];
  if (new Map(notes).get("format") === FORMAT) {
    const reason = `metadata.format must not be "${FORMAT}", which is for files with state`;
    throw new TypeError(cannot("save the weights", reason));
  }
  const sorted = [...new Map(notes)].sort(([a], [b]) => a < b ? -1 : 1);
  const tensors = nameTensors(checked, [["parameter", checked.parameters]]);
  return layOut(tensors, Object.fromEntries(sorted), byDtype);
}

/** The oldest version that has all that a dict has: the same state is written as older releases did. */
function versionFor({ groups, state, average }: CheckedDict): number {
  if (average !== null) return VERSION;
  const isBasic = state.momentum8.size === 0 && state.correction.size === 0 &&
    state.rows_in_use.size === 0 && groups.every(({ values }) => values.momentumBits !== 8);
  return isBasic ? BASIC_VERSION : VERSION_WITHOUT_AVERAGE;
}

/** Tensors of a dict, each under its name in the file: all, unless parts are given. */
function nameTensors(dict: CheckedDict, parts = heldBy(dict)): Tensor[] {
  const slots = new Slots(dict.groups, dict.average?.averages.length);
  const { doubled } = slots;
  const tensors: Tensor[] = [];
  for (const [kind, held] of parts) {
    for (const [index, { data, shape }] of held) {
      const name = slots.nameOf(kind, index);
      const isDoubled = doubled.size > 0 && doubled.has(name!);
      if (name === undefined || isDoubled) throw unplaced(dict, slots);
      if (name === METADATA) {
        throw new TypeError(cannot("encode the state", `no parameter may be called "${METADATA}"`));
      }
      tensors.push({ name, array: data, shape: shape ?? [lengthOf(data)] });
    }
  }
  return tensors;
}

type Held = readonly [TensorKind, ReadonlyMap<number, CheckedTensor<StoredArray>>];

/** What a dict has of each kind. */
function heldBy({ state, parameters, average }: CheckedDict): readonly Held[] {
  return [
    ...STATE_KEYS.map((key): Held => [key, state[key]]),
    ["parameter", parameters],
    ["average", new Map(average?.averages.entries())],
  ];
}

/** Says which tensor has no place in the file: of no group, or of a doubled name. */
function unplaced(dict: CheckedDict, slots: Slots): TypeError {
  const indices = heldBy(dict).flatMap(([kind, held]) =>
    kind === "average" ? [] : [...held.keys()]
  );
  const strays = indices.filter((index) => slots.nameOf("momentum_buffer", index) === undefined);
  return new TypeError(
    strays.length > 0
      ? cannot("encode the state", `no group has the parameters ${[...new Set(strays)].join(", ")}`)
      : cannot(
        "encode the state",
        "the names of tensors must differ",
        `${[...slots.doubled].map(quote).join(", ")}`,
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
