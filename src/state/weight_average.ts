/** The state of averaged weights, and how it comes into a checkpoint. */

import { checkBuffer, isFixed } from "../core/array_checks.ts";
import { checkShape } from "../core/check_parameter.ts";
import { findElementType } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { asObject, cannot, checkText, WHOLE, wrong } from "../core/validate.ts";
import type { TensorDict } from "./dict_tensor.ts";
import { extraOf } from "./extras.ts";

/**
 * The state of a `WeightAverage`. Averages are float32, or float64 of float64 parameters.
 *
 * @category Checkpoints
 */
export interface WeightAverageStateDict {
  /** How many updates the average has had. */
  n_averaged: number;
  /** The average of each parameter, by its index. */
  averages: Record<string, TensorDict>;
  /** The names of the parameters, in order, if some have one; null for the others. */
  param_names?: (string | null)[];
}

/** The average of a parameter, whose shape agrees with its length. */
export interface CheckedAverage {
  readonly data: FloatArray;
  /** Null if it is not known. */
  readonly shape: readonly number[] | null;
}

/** A state that has been checked. */
export interface CheckedAverages {
  readonly count: number;
  /** In the order of the parameters. */
  readonly averages: readonly CheckedAverage[];
  /** Null if no parameter has a name, and for each that has none. */
  readonly names: readonly (string | null)[] | null;
}

const WHAT = "weight_average";

/**
 * Checks the state of averaged weights without copying its arrays.
 *
 * @throws {TypeError} If something is missing or of another type.
 * @throws {RangeError} If there is another number of names, or a shape does not fit.
 */
export function checkAverageDict(dict: unknown): CheckedAverages {
  const { averages, ...rest } = extraOf(dict, WHAT, "average");
  const { count, names } = checkAverageHead(rest);
  const entries = asObject(averages, `${WHAT}.averages`);
  const keys = Object.keys(entries);
  const checked = keys.map((_, i) => {
    const what = `${WHAT}.averages["${i}"]`;
    if (!Object.hasOwn(entries, String(i))) {
      throw wrong(what, "there, as keys count from 0", undefined);
    }
    return checkAverage(asObject(entries[i], what), what);
  });
  checkNameCount(names, checked.length);
  return { count, averages: checked, names };
}

/** Checks what a state has beside its arrays. */
export function checkAverageHead(head: Record<string, unknown>): Omit<CheckedAverages, "averages"> {
  const { n_averaged, param_names, ...rest } = head;
  for (const key of Object.keys(rest)) {
    const reason = `${WHAT}.${key} is not a state of a WeightAverage`;
    throw new TypeError(cannot("use the state dict", reason));
  }
  if (!WHOLE.holds(n_averaged as number)) throw wrong(`${WHAT}.n_averaged`, WHOLE.text, n_averaged);
  return { count: n_averaged as number, names: checkNames(param_names) };
}

function checkNames(names: unknown): readonly (string | null)[] | null {
  if (names === undefined) return null;
  const what = `${WHAT}.param_names`;
  if (!Array.isArray(names)) throw wrong(what, "an array", names);
  return Array.from(
    names,
    (name, i) => name === null ? null : checkText(name, `${what}[${i}]`, " or null"),
  );
}

/** Checks that there are as many names as averages. */
export function checkNameCount(names: readonly unknown[] | null, count: number): void {
  if (names === null || names.length === count) return;
  throw new RangeError(
    cannot(
      "use the state dict",
      `${WHAT}.param_names must have ${count} names, one for each average`,
      `it has ${names.length}`,
    ),
  );
}

function checkAverage(entry: Record<string, unknown>, what: string): CheckedAverage {
  const { data, shape, ...rest } = entry;
  const other = Object.keys(rest)[0];
  if (other !== undefined) {
    const reason = `${what}.${other} is not a state of a WeightAverage`;
    throw new TypeError(cannot("use the state dict", reason));
  }
  const type = findElementType(data);
  if (type === undefined || type.bytes < 4 || type.device !== undefined) {
    throw wrong(`${what}.data`, "a Float32Array or a Float64Array", data);
  }
  const array = data as FloatArray;
  if (!isFixed(array)) checkBuffer(array, `${what}.data`);
  if (shape === undefined) return { data: array, shape: null };
  const sides = Array.isArray(shape) ? [...shape] : shape as number[];
  checkShape(sides, lengthOf(array), what);
  return { data: array, shape: sides };
}

/** The state of an average as it is at the moment. */
export interface AverageSource {
  /** A state that shares the average's arrays. */
  dict(): WeightAverageStateDict;
  /** A number that is another one after every change of the average. */
  revision(): number;
}

const known = new WeakMap<object, AverageSource>();

/** Makes the state of an average known; only the average itself calls this. */
export function registerAverageSource(average: object, source: AverageSource): void {
  known.set(average, source);
}

/** The state of an average; undefined if the value is none. */
export function averageSourceOf(average: object): AverageSource | undefined {
  return known.get(average);
}
