/** Gradients outside a step: reads them, of parameters or as they are, and puts them into tables. */

import type { Backend } from "../backends/backend.ts";
import { foldEntries, sumEntries } from "../backends/sparse_sums.ts";
import { bufferError, checkBuffer } from "../core/array_checks.ts";
import { deviceOf, dtypeOf } from "../core/dtype.ts";
import type { Dtype, WideDtype } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { byteLengthOf, lengthOf } from "../core/intrinsics.ts";
import { label } from "../core/parameter.ts";
import type { Parameter, SparseGrad } from "../core/parameter.ts";
import { cannot, wrongType } from "../core/validate.ts";
import { assertUnlocked } from "../memory/locks.ts";
import { createSpans, Written } from "../memory/overlap.ts";
import type { NamedSpan, Spans } from "../memory/overlap.ts";
import { tabulate } from "../plan/layout.ts";
import type { Gradients } from "../plan/layout.ts";
import { isSparse, readSparse } from "../plan/sparse.ts";
import type { SparseRows } from "../plan/sparse.ts";

/** What is done to gradients, as errors say it. */
export interface Doing {
  /** The verb, such as `clip`. */
  readonly verb: string;
  /** What to do with gradients on a GPU instead. */
  readonly onGpu: string;
}

/** A gradient with its name for error messages. */
export interface NamedGradient {
  readonly name: string;
  /** Its elements; of a sparse one the values. */
  readonly grad: HostArray;
  readonly dtype: Dtype;
  readonly length: number;
  /** What a sparse one consists of; null for others. */
  readonly sparse: SparseRows | null;
  /** The user's own indices of a sparse one. */
  readonly indices?: SparseGrad["indices"];
}

/**
 * Reads the gradients of parameters that have one, and gradients as they are.
 *
 * @throws {TypeError} If it is not iterable, or an iterator that yields nothing, which a loop may have
 * used up; if a gradient is on a GPU, of another type, detached or resizable.
 * @throws {RangeError} If the parts of a sparse one do not fit together.
 * @throws {Error} If a step that is running uses one of them.
 */
export function readGradients(params: unknown, doing: Doing): NamedGradient[] {
  const named = readItems(params).flatMap((item, i) => {
    const isParameter = typeof item === "object" && item !== null && "grad" in item;
    if (!isParameter) return [readGradient(item, `gradient ${i}`, doing)];
    const { grad, name } = item as Parameter;
    return grad === null ? [] : [readGradient(grad, `grad of ${label({ name }, i)}`, doing)];
  });
  for (const { grad, length, name } of named) { // a getter may have detached one, or started a step
    if (lengthOf(grad) !== length) throw bufferError(grad, name);
    assertUnlocked(grad, () => name);
  }
  return named;
}

function readItems(params: unknown): unknown[] {
  const iterable = params as Iterable<unknown> | null | undefined;
  if (typeof iterable?.[Symbol.iterator] !== "function") {
    throw wrongType("use params", "it must be iterable", params);
  }
  const items = [...iterable];
  // Of all iterables only an iterator is its own iterator.
  if (items.length === 0 && iterable[Symbol.iterator]() as unknown === params) {
    throw new TypeError(
      cannot(
        "use params",
        "an iterator must yield a parameter or a gradient",
        "it yields nothing, perhaps because it has been read before: pass an array",
      ),
    );
  }
  return items;
}

function readGradient(grad: unknown, name: string, doing: Doing): NamedGradient {
  if (isSparse(grad)) return readSparseGradient(grad, name);
  if (deviceOf(grad) !== undefined) {
    const instead = `it is on a GPU: ${doing.onGpu}`;
    throw new TypeError(cannot(`${doing.verb} ${name}`, "it must be an array", instead));
  }
  const dtype = dtypeOf(grad, name);
  checkBuffer(grad as HostArray, name);
  return {
    name,
    grad: grad as HostArray,
    dtype,
    length: lengthOf(grad as HostArray),
    sparse: null,
  };
}

/** Its shape is that of the parameter, whose length is not known here. */
function readSparseGradient(grad: SparseGrad, name: string): NamedGradient {
  const { indices, values, shape } = grad;
  const dtype = dtypeOf(values, `values of ${name}`);
  const length = Array.isArray(shape) ? shape.reduce((a: number, b: number) => a * b, 1) : 0;
  const sparse = readSparse({ indices, values, shape }, { dtype, length }, name);
  return { name, grad: values, dtype, length: lengthOf(values), sparse, indices };
}

/**
 * Tables of gradients as they are, without sums: each entry of a sparse one counts for itself.
 *
 * @throws {RangeError} If some of them share memory.
 */
export function tabulateGradients(named: readonly NamedGradient[], backend: Backend): Gradients {
  checkApart(named, backend);
  return tabulate(named, (array) => backend.address(array as HostArray));
}

/** Tables for a norm: a sparse gradient counts as the sums of its entries, which are copies. */
export function tabulateForNorm(named: readonly NamedGradient[], backend: Backend): Gradients {
  const summed = named.map(({ grad, dtype, sparse }) => {
    return { grad: sparse === null ? grad : sumsOf(sparse, dtype as WideDtype), dtype };
  });
  return tabulate(summed, (array) => backend.address(array as HostArray));
}

function sumsOf(sparse: SparseRows, dtype: WideDtype): HostArray {
  return sumEntries(sparse, dtype, dtype.zeros(lengthOf(sparse.values))).values;
}

/** Adds up the entries of sparse gradients that name the same row, in place: into the first one. */
export function foldSparse(named: readonly NamedGradient[]): void {
  for (const { dtype, sparse } of named) {
    if (sparse !== null) foldEntries(sparse, dtype as WideDtype);
  }
}

/** Gradients are written, so that none may be another's memory, nor that of indices. */
function checkApart(named: readonly NamedGradient[], { address }: Backend): void {
  const spanOf = (array: HostArray, name: string): NamedSpan => {
    const start = address(array);
    return { start, end: start + byteLengthOf(array), name };
  };
  const list = named.map(({ grad, name }) => spanOf(grad, name));
  const written = new Written(spansOf(list), () => list);
  const read = named.flatMap(({ indices, name }) =>
    indices === undefined ? [] : [spanOf(indices as unknown as HostArray, `indices of ${name}`)]
  );
  const meeting = written.findMeeting(spansOf(read));
  if (meeting < 0) return;
  const { start, end, name } = read[meeting];
  throw written.refusal(start, end, name);
}

function spansOf(list: readonly NamedSpan[]): Spans {
  const spans = createSpans(list.length);
  list.forEach(({ start, end }, i) => {
    if (start < end) [spans.starts[i], spans.ends[i]] = [start, end];
  });
  return spans;
}
