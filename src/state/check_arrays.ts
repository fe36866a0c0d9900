/** Checks the arrays of a state dict, without copying them. */

import { checkBuffer, isFixed } from "../core/array_checks.ts";
import { checkShape } from "../core/check_parameter.ts";
import { dtypeOf, FLOAT32, isHostArray } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { LARGEST_SCALE, scalesCount, SMALLEST_SCALE } from "../core/momentum8.ts";
import { cannot, isPlainObject, refusal, wrong } from "../core/validate.ts";
import { checkRowCount, checkRowFlags } from "./rows_in_use.ts";
import type { RowsInUseArray } from "./rows_in_use.ts";
import { CODE_KINDS, findStored, STORED_TYPES } from "./stored_array.ts";
import type { StoredArray } from "./stored_array.ts";
import { STATE_KEYS } from "./tensor_names.ts";
import type { StateKey, TensorKind } from "./tensor_names.ts";

/** The types of the arrays of state. */
interface StateArrayTypes {
  readonly momentum_buffer: HostArray;
  readonly master_weight: Float32Array;
  readonly momentum8: Int8Array;
  readonly momentum_scales: Uint8Array;
  readonly correction: Int16Array | Int8Array;
  readonly rows_in_use: RowsInUseArray;
}

/** A tensor whose shape agrees with its length. */
export interface CheckedTensor<A extends StoredArray = HostArray> {
  readonly data: A;
  /** Null if it is not known. */
  readonly shape: readonly number[] | null;
}

/** The arrays of state, each kind by index. A parameter that has not stepped has none. */
export type CheckedState = {
  readonly [K in StateKey]: ReadonlyMap<number, CheckedTensor<StateArrayTypes[K]>>;
};

/** The kinds that have one dimension, whatever the shape of the parameter is. */
export const SHAPELESS: readonly TensorKind[] = ["momentum_scales", "rows_in_use"];

/** What of one parameter has been read from a dict, or is to be read from a file. */
type Entry = Partial<Record<StateKey, StoredArray | null>>;

/**
 * Checks the state of all parameters.
 *
 * @throws {TypeError} If an array is of another type or has no counterpart.
 * @throws {RangeError} If a length, a shape or a scale does not fit.
 */
export function checkState(state: unknown): CheckedState {
  const found = Object.fromEntries(STATE_KEYS.map((key) => [key, new Map()])) as Record<
    StateKey,
    Map<number, CheckedTensor<StoredArray>>
  >;
  const entries = asPlain(state, "state");
  for (const key of Object.keys(entries)) {
    const where: Where = ["state", key];
    const index = toIndex(where);
    const tensors = checkEntry(asEntry(entries[key], where), where);
    for (const [name, tensor] of Object.entries(tensors)) {
      found[name as StateKey].set(index, tensor);
    }
  }
  return found as unknown as CheckedState;
}

type EntryTensors = Partial<Record<StateKey, CheckedTensor<StoredArray>>>;

/** Checks the state of one parameter. */
function checkEntry(entry: Record<string, unknown>, where: Where): EntryTensors {
  const tensors: EntryTensors = {};
  const arrays: Entry = {};
  const { shape } = entry;
  for (const name of Object.keys(entry)) {
    if (name === "shape") continue;
    if (!isStateKey(name)) throw isOther(name, where);
    const value = entry[name];
    if (value === undefined || value === null) continue;
    const sides = SHAPELESS.includes(name) ? undefined : shape;
    arrays[name] = (tensors[name] = checkTensor(value, sides, where, name)).data;
  }
  checkForms(arrays, where);
  const { momentum_scales: scales, rows_in_use: rows } = arrays;
  if (scales) checkScales(scales as Uint8Array, () => `${nameOf(where)}.momentum_scales`);
  if (!rows) return tensors;
  const { data, shape: sides } = tensors.momentum_buffer ?? {};
  checkRowCount(rows as RowsInUseArray, data as HostArray, sides, nameOf(where));
  checkRowFlags(rows as RowsInUseArray, `${nameOf(where)}.rows_in_use`);
  return tensors;
}

/**
 * Checks parameters' own values.
 *
 * @param corrections Their corrections, which only bfloat16 has.
 * @throws {TypeError} If something is of another type.
 * @throws {RangeError} If a shape does not fit.
 */
export function checkParameters(
  parameters: unknown,
  corrections: CheckedState["correction"],
): Map<number, CheckedTensor> {
  const tensors = new Map<number, CheckedTensor>();
  const entries = asPlain(parameters, "parameters");
  for (const key of Object.keys(entries)) {
    const where: Where = ["parameters", key];
    const index = toIndex(where);
    const entry = asEntry(entries[key], where);
    for (const name of Object.keys(entry)) {
      if (name !== "data" && name !== "shape") throw isOther(name, where);
    }
    const { data, shape } = entry;
    const tensor = checkTensor(data, shape, where, "data") as CheckedTensor;
    if (corrections.size > 0 && corrections.has(index)) checkCorrected(tensor.data, where);
    tensors.set(index, tensor);
  }
  return tensors;
}

/** Refuses values that cannot be the upper halves of master weights. */
export function checkCorrected(data: HostArray, where: Where): void {
  const what = `${nameOf(where)}.data`;
  if (dtypeOf(data, what).name === "bfloat16") return;
  throw wrong(what, "a BFloat16Array, as the state has its correction", data);
}

/**
 * Checks which arrays of one parameter go together: of momentum in 8 bits both halves or none, and one
 * momentum and one master weight at most.
 *
 * @throws {TypeError} If one is missing, or there is one too many.
 * @throws {RangeError} If there is another number of scales.
 */
export function checkForms(
  { momentum_buffer, master_weight, momentum8, momentum_scales, correction }: Entry,
  where: Where,
): void {
  if (momentum8) {
    if (momentum_buffer) throw both("momentum_buffer", "momentum8", where);
    if (!momentum_scales) throw half("momentum_scales", "momentum8", where);
    const [needed, length] = [scalesCount(lengthOf(momentum8)), lengthOf(momentum_scales)];
    if (length !== needed) {
      const reason = `${nameOf(where)}.momentum_scales must have length ${needed}, ` +
        `one for each 32 elements of momentum8`;
      throw new RangeError(refusal("use the state dict", reason, length, "length"));
    }
  } else if (momentum_scales) throw half("momentum8", "momentum_scales", where);
  if (master_weight && correction) throw both("master_weight", "correction", where);
}

function both(one: StateKey, other: StateKey, where: Where): TypeError {
  return new TypeError(
    cannot("use the state dict", `${nameOf(where)} must have ${one} or ${other}`, "it has both"),
  );
}

function half(missing: StateKey, present: StateKey, where: Where): TypeError {
  const kind = `${CODE_KINDS[missing]}, as there is ${present}`;
  return wrong(`${nameOf(where)}.${missing}`, kind, undefined);
}

/**
 * Checks the exponents of momentum in 8 bits. Every code is valid, but others than these would be
 * decoded to infinities, or to values that the step does not make.
 *
 * @param what What an error calls them.
 * @param doing What they are checked for.
 * @throws {RangeError} If one is out of range.
 */
export function checkScales(
  scales: Uint8Array,
  what: () => string,
  doing = "use the state dict",
): void {
  const length = lengthOf(scales);
  for (let i = 0; i < length; i++) {
    const scale = scales[i];
    if (scale >= SMALLEST_SCALE && scale <= LARGEST_SCALE || scale === 0) continue;
    const reason = `each of ${what()} must be 0 or from ${SMALLEST_SCALE} to ${LARGEST_SCALE}`;
    throw new RangeError(refusal(doing, reason, `${scale} at ${i}`));
  }
}

/** An entry of a dict: of what, and under which key. */
export type Where = readonly [what: "state" | "parameters", key: string];

/** What error messages call an entry. */
export function nameOf([what, key]: Where): string {
  return `${what}["${key}"]`;
}

function isStateKey(name: string): name is StateKey {
  return (STATE_KEYS as readonly string[]).includes(name);
}

function toIndex(where: Where): number {
  const [, key] = where;
  const index = Number(key);
  if (Number.isSafeInteger(index) && index >= 0 && String(index) === key) return index;
  throw new TypeError(cannot("use the state dict", `the key of ${nameOf(where)} must be an index`));
}

function asEntry(value: unknown, where: Where): Record<string, unknown> {
  return isPlainObject(value) ? value as Record<string, unknown> : asPlain(value, nameOf(where));
}

/** A plain object, of which the caller reads each property once. */
function asPlain(value: unknown, what: string): Record<string, unknown> {
  if (isPlainObject(value)) return value as Record<string, unknown>;
  throw wrong(what, "a plain object", value);
}

function isOther(name: string, where: Where): TypeError {
  return new TypeError(
    cannot("use the state dict", `${nameOf(where)}.${name} is not a state of SGD`),
  );
}

/** The parts of a tensor's name are put together for an error only: a dict may have 250,000. */
function checkTensor(
  data: unknown,
  shape: unknown,
  where: Where,
  key: StateKey | "data",
): CheckedTensor<StoredArray> {
  const array = data as HostArray;
  if (!isOfKind(data, key) || !isFixed(array)) {
    const what = `${nameOf(where)}.${key}`;
    refuseKind(data, key, what);
    checkBuffer(array, what);
  }
  if (shape === undefined) return { data: array, shape: null };
  const sides = Array.isArray(shape) ? [...shape] : shape as number[];
  checkShape(sides, lengthOf(array), `${nameOf(where)}.${key}`);
  return { data: array, shape: sides };
}

function isOfKind(data: unknown, key: StateKey | "data"): boolean {
  if (key === "data" || key === "momentum_buffer") return isHostArray(data);
  if (key === "master_weight") {
    return isHostArray(data) && dtypeOf(data, "") === FLOAT32;
  }
  const type = findStored(data);
  return type !== undefined && STORED_TYPES[key].includes(type.safetensors);
}

/** Throws if it is the kind that is wrong. */
function refuseKind(data: unknown, key: StateKey | "data", what: string): void {
  if (isOfKind(data, key)) return;
  if (key === "data" || key === "momentum_buffer") dtypeOf(data, what);
  throw wrong(what, CODE_KINDS[key as StateKey] ?? "a Float32Array", data);
}
