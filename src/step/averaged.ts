/** The parameters of a `WeightAverage`, and the memory of their averages. */

import type { AverageTerm } from "../backends/average.ts";
import type { Backend } from "../backends/backend.ts";
import { bufferError, checkMatches, isFixed, matchesSpec } from "../core/array_checks.ts";
import { checkParameter } from "../core/check_parameter.ts";
import { deviceOf, dtypeOf, FLOAT32, isSixteenBit } from "../core/dtype.ts";
import type { Dtype, Tensor, WideDtype } from "../core/dtype.ts";
import type { FloatArray, HostArray } from "../core/host_array.ts";
import { byteLengthOf, lengthOf } from "../core/intrinsics.ts";
import { label, nameArray } from "../core/parameter.ts";
import { cannot, wrongType } from "../core/validate.ts";
import { assertUnlocked } from "../memory/locks.ts";
import { createSpans, Written } from "../memory/overlap.ts";
import { placeAll, Slab } from "../memory/slab.ts";
import type { Master } from "../plan/masters.ts";

/**
 * A parameter, as far as averaging it goes.
 *
 * @category Optimizer
 */
export interface AveragedParameter {
  /** The values. */
  readonly data: Tensor;
  /** The parameter's name, by which a state is matched. */
  readonly name?: string;
  /** The tensor's shape. */
  readonly shape?: readonly number[];
}

/** A parameter, and its average. */
export interface Averaged {
  readonly parameter: AveragedParameter;
  /** As it was when the average was made. */
  readonly name: string | undefined;
  readonly shape: readonly number[] | undefined;
  readonly dtype: Dtype;
  readonly length: number;
  /** Nobody else has it, so nothing overlaps or detaches it. */
  readonly average: FloatArray;
}

/**
 * Reads parameters, or groups of parameters, and makes memory for their averages.
 *
 * @throws {TypeError} If there is none, or something is not a parameter, or is on a GPU.
 * @throws {RangeError} If a parameter is there twice, or two of them overlap.
 */
export function readAveraged(params: unknown, backend: Backend): Averaged[] {
  // A group that moveParameter has left without parameters counts for nothing.
  const parameters = toArray(params, "params").flatMap((member) =>
    isGroup(member) ? toArray(member.params, "params of the group") : [member]
  );
  if (parameters.length === 0) throw noParameter();
  const seen = new Set<unknown>();
  const read = parameters.map((parameter, index) => {
    checkParameter(parameter, index, arrayTypeOf);
    if (seen.has(parameter)) {
      const what = label(parameter, index);
      throw new RangeError(cannot(`average ${what}`, "it must be in the list once"));
    }
    seen.add(parameter);
    return describe(parameter, index);
  });
  checkApart(read, read.map(({ data }) => data), backend);
  const averages = allocate(
    read.map(({ dtype, length }) => [typeOfAverage(dtype), length]),
    backend,
  );
  return read.map(({ data: _, ...rest }, i) => ({ ...rest, average: averages[i] }));
}

function isGroup(member: unknown): member is { readonly params: unknown } {
  return typeof member === "object" && member !== null && "params" in member;
}

function toArray(value: unknown, what: string): unknown[] {
  const iterable = value as Iterable<unknown> | null | undefined;
  if (typeof iterable !== "object" || typeof iterable?.[Symbol.iterator] !== "function") {
    throw wrongType(`use ${what}`, "it must be iterable", value);
  }
  return [...iterable];
}

function noParameter(): TypeError {
  return new TypeError(cannot("use params", "it must hold at least one parameter", "it is empty"));
}

/** Refuses what is neither an array nor a tensor on a GPU, which `describe` refuses in other words. */
function arrayTypeOf(data: unknown, what: string): void {
  if (deviceOf(data) === undefined) dtypeOf(data, what);
}

function describe(parameter: AveragedParameter, index: number) {
  const { data, name, shape } = parameter;
  if (deviceOf(data) !== undefined) throw onDevice(nameArray({ name }, index, "data"));
  const dtype = dtypeOf(data, nameArray({ name }, index, "data"));
  const sides = shape === undefined ? undefined : [...shape];
  return { parameter, data: data as HostArray, name, shape: sides, dtype, length: lengthOf(data) };
}

function onDevice(what: string): TypeError {
  return new TypeError(
    cannot(`average ${what}`, "it must be an array", "it is on a GPU: average a copy on the host"),
  );
}

/** The type of the average of a parameter: float32 for 16-bit types. */
export function typeOfAverage(dtype: Dtype): WideDtype {
  return isSixteenBit(dtype) ? FLOAT32 : dtype as WideDtype;
}

/** Refuses data that share memory: where values are swapped they are written. */
export function checkApart(
  list: readonly { readonly name?: string }[],
  arrays: readonly HostArray[],
  { address }: Backend,
): void {
  const spans = createSpans(arrays.length);
  arrays.forEach((array, i) => {
    if (lengthOf(array) === 0) return;
    spans.starts[i] = address(array);
    spans.ends[i] = spans.starts[i] + byteLengthOf(array);
  });
  const named = Array.from(spans.starts, (start, i) => {
    return { start, end: spans.ends[i], name: nameArray(list[i], i, "data") };
  });
  new Written(spans, () => named); // throws
}

/** Zeros of some types and lengths, in as few blocks of memory as there can be. */
function allocate(
  arrays: readonly (readonly [WideDtype, number])[],
  backend: Backend,
): FloatArray[] {
  const views: FloatArray[] = [];
  const createSlab = (bytes: number) => {
    // The loops of `js` go by arrays of any buffer, and have no use for memory of WebAssembly.
    if (backend.name === "js") return new Slab(new ArrayBuffer(bytes), 0, 0);
    const { buffer, offset } = backend.allocate(bytes);
    return new Slab(buffer, 0, offset);
  };
  placeAll({
    count: arrays.length,
    bytesOf: (i) => arrays[i][0].bytes * arrays[i][1],
    place(i, { buffer }, offset) {
      const [type, length] = arrays[i];
      views[i] = type.view(buffer, offset, length);
    },
  }, createSlab);
  return views;
}

/** The data of parameters by their numbers, which whoever owns them may have replaced by anything. */
export function datasOf(list: readonly (readonly [number, Averaged])[]): HostArray[] {
  const datas = list.map(([index, averaged]) => dataOf(averaged, index));
  list.forEach(([index, averaged], i) => { // a getter may have detached one
    if (!isFixed(datas[i])) checkData(averaged, datas[i], index);
  });
  return datas;
}

/**
 * The data of a parameter.
 *
 * @throws {TypeError} If they are not of the type that they had when the average was made.
 * @throws {RangeError} If they have another length.
 * @throws {Error} If a step that is running uses them.
 */
function dataOf(averaged: Averaged, index: number): HostArray {
  const { data } = averaged.parameter;
  checkData(averaged, data, index);
  assertUnlocked(data, () => nameArray(averaged, index, "data"));
  return data as HostArray;
}

/** Checks that data are like those that the average was made of. */
export function checkData(averaged: Averaged, data: Tensor, index: number): void {
  const { dtype, length } = averaged;
  if (matchesSpec(data, dtype, length)) return;
  checkMatches(
    data,
    { dtype, length, reason: "as it was when the average was made" },
    nameArray(averaged, index, "data"),
  );
}

/**
 * What an average is updated by: the data of its parameter, or the master weights.
 *
 * @throws {TypeError} If the user has given the optimizer a master weight that does not fit.
 * @throws {RangeError} If it has another length.
 */
export function termOf(
  averaged: Averaged,
  index: number,
  data: HostArray,
  { weight, correction }: Master,
): AverageTerm {
  const { length, average } = averaged;
  if (weight !== null && !matchesSpec(weight, FLOAT32, length)) {
    checkMatches(weight, { dtype: FLOAT32, length }, nameArray(averaged, index, "master weight"));
  }
  if (correction !== null && lengthOf(correction) !== length) {
    throw bufferError(correction as unknown as HostArray, nameArray(averaged, index, "correction"));
  }
  return { values: weight ?? data, correction, average };
}
