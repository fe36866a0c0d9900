/**
 * Sparse gradients: what they must be, and the table of the matrices that a step gets some rows of.
 *
 * As in torch 2.13, sparse gradients go without weight decay, and a momentum buffer that began with
 * a sparse gradient continues with sparse ones.
 */

import { checkBuffer } from "../core/array_checks.ts";
import { checkShape } from "../core/check_parameter.ts";
import { dtypeOf, isSixteenBit } from "../core/dtype.ts";
import type { ElementType } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import { bufferOf, byteOffsetOf, lengthOf, tagOf } from "../core/intrinsics.ts";
import type { SparseGrad } from "../core/parameter.ts";
import { cannot, outOfRange, refusal, wrongType } from "../core/validate.ts";
import { FIRST, GRAD, KIND, LATER, ROW, stateWord } from "./layout.ts";
import type { RowsInUse } from "./rows_in_use.ts";

/** Words of a row, as `kernels/src/ffi/layout.rs` has it too: those of a tensor's row, and more. */
export const SPARSE_ROW = ROW + 4;

/** In the place of the gradient. */
const VALUES = GRAD;

export const INDICES = ROW;

export const COUNT = ROW + 1;

export const COLUMNS = ROW + 2;

/** The rows in use, or 0. */
export const USED = ROW + 3;

/** Stands for a 64-bit index that 32 bits do not hold. */
const WIDER = 2 ** 32 - 1;

/** A gradient that has been checked. Its indices are a copy, which nobody can change. */
export interface SparseRows {
  readonly indices: Uint32Array<ArrayBuffer>;
  readonly values: FloatArray;
  readonly columns: number;
}

/** One matrix of a step. */
export interface SparseStep extends SparseRows {
  /** The row of the plan that the matrix has; its gradient kind there is `"sparse"`. */
  readonly row: number;
  /** Whether the momentum buffer has never been written; it is all zeros then. */
  readonly first: boolean;
  /**
   * The rows in use, to which the step adds. Null without momentum, and if every row may be in use; it
   * is set when the step's own arrays have been made.
   */
  used: RowsInUse | null;
}

/** The matrices of one step that have sparse gradients, in the order of the plan. */
export class SparseTable {
  /** A row of `SPARSE_ROW` words per matrix. */
  rows: BigUint64Array<ArrayBuffer> = new BigUint64Array(0);
  /** What the rows were written from. */
  readonly steps: SparseStep[] = [];

  /**
   * Writes the rows.
   *
   * @param tensor The tensor's row of the plan.
   * @param address Where an array's bytes begin.
   */
  write(
    tensor: (step: SparseStep) => BigUint64Array<ArrayBuffer>,
    address: (array: FloatArray | Uint32Array<ArrayBuffer>) => number,
  ): void {
    const words = this.steps.length * SPARSE_ROW;
    if (this.rows.length < words) this.rows = new BigUint64Array(words);
    for (const [i, step] of this.steps.entries()) {
      const at = i * SPARSE_ROW;
      this.rows.set(tensor(step), at);
      this.rows[at + VALUES] = BigInt(address(step.values));
      this.rows[at + KIND] += stateWord(step.first ? FIRST : LATER); // its row of the plan says SKIP
      this.rows[at + INDICES] = BigInt(address(step.indices));
      this.rows[at + COUNT] = BigInt(step.indices.length);
      this.rows[at + COLUMNS] = BigInt(step.columns);
      this.rows[at + USED] = step.used === null ? 0n : BigInt(address(step.used.bits));
    }
  }

  /** The matrix of a row of the plan, if it is stepped. */
  find(row: number): SparseStep | undefined {
    let [low, high] = [0, this.steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.steps[middle].row < row) low = middle + 1;
      else high = middle;
    }
    const step = this.steps.at(low);
    return step?.row === row ? step : undefined;
  }

  /** Which of the matrices have their row of the plan in `from <= row < to`. */
  range(from: number, to: number): [from: number, to: number] {
    const { steps } = this;
    let [first, end] = [0, steps.length];
    while (first < end && steps[first].row < from) first++;
    while (end > first && steps[end - 1].row >= to) end--;
    return [first, end];
  }
}

/** Tells a sparse gradient from an array; what is neither is not a sparse gradient. */
export function isSparse(grad: unknown): grad is SparseGrad {
  return typeof grad === "object" && grad !== null && "indices" in grad;
}

/**
 * A gradient of the same kind without entries.
 *
 * @throws {TypeError} If indices or values are of another type, detached or resizable.
 */
export function withoutEntries({ indices, values, shape }: SparseGrad, what: string): SparseGrad {
  const { none } = checkIndicesType(indices, `indices of ${what}`);
  const { zeros } = dtypeOf(values, `values of ${what}`);
  checkBuffer(values, `values of ${what}`);
  return { indices: none(), values: zeros(0) as FloatArray, shape };
}

/**
 * Checks a sparse gradient and copies its indices.
 *
 * @param like The parameter that it belongs to.
 * @param what What error messages call the gradient.
 * @throws {TypeError} If a part is missing, of another type, detached or resizable.
 * @throws {RangeError} If shape or lengths do not fit, or an index is out of range.
 */
export function readSparse(
  { indices, values, shape }: SparseGrad,
  like: { dtype: ElementType; length: number; shape?: readonly number[] },
  what: string,
): SparseRows {
  if (like.dtype.device !== undefined) {
    throw new TypeError(
      cannot(`use ${what}`, "it must be a tensor, like its data", "it is sparse"),
    );
  }
  if (isSixteenBit(like.dtype)) {
    throw new TypeError(
      cannot(
        `use ${what}`,
        "a sparse gradient needs data of float32 or float64",
        `its data are ${like.dtype.name}`,
      ),
    );
  }
  const [rows, columns] = readShape(shape, like, what);
  const type = checkIndicesType(indices, `indices of ${what}`);
  if (dtypeOf(values, `values of ${what}`) !== like.dtype) {
    const reason = `they must be ${like.dtype.name}, like its data`;
    throw wrongType(`use values of ${what}`, reason, values);
  }
  checkBuffer(values, `values of ${what}`);
  const copy = copyIndices(indices, type, rows, what);
  if (lengthOf(values) !== copy.length * columns) {
    const reason = `their length must be ${copy.length} x ${columns}, a row for each index`;
    throw new RangeError(refusal(`use values of ${what}`, reason, lengthOf(values), "length"));
  }
  return { indices: copy, values, columns };
}

function readShape(
  shape: unknown,
  like: { length: number; shape?: readonly number[] },
  what: string,
): readonly [rows: number, columns: number] {
  const sides = Array.isArray(shape) ? [...shape] : shape as number[];
  checkShape(sides, like.length, what);
  const own = Array.isArray(like.shape) ? [...like.shape] : sides;
  if (sides.length !== 2 || own.length !== 2 || own[0] !== sides[0] || own[1] !== sides[1]) {
    const reason = "its shape must be [rows, columns], like that of its data";
    const shown = `[${sides.join(", ")}] and [${own.join(", ")}]`;
    throw new RangeError(refusal(`use ${what}`, reason, shown, "shapes"));
  }
  return [sides[0], sides[1]];
}

/** A type of indices. */
interface IndexType {
  /** As uint32, what is negative or wider comes from here on. */
  readonly limit: number;
  readonly copy: (indices: SparseGrad["indices"]) => Uint32Array<ArrayBuffer>;
  /** An array without elements. */
  readonly none: () => SparseGrad["indices"];
}

/** A typed array is read from its memory, whatever its properties say. */
const copyWords = (indices: SparseGrad["indices"]) => new Uint32Array(indices as Uint32Array);

const INDEX_TYPES: ReadonlyMap<string | undefined, IndexType> = new Map([
  ["Int32Array", { limit: 2 ** 31, copy: copyWords, none: () => new Int32Array(0) }],
  ["Uint32Array", { limit: WIDER, copy: copyWords, none: () => new Uint32Array(0) }],
  ["BigInt64Array", { limit: WIDER, copy: narrow, none: () => new BigInt64Array(0) }],
]);

function checkIndicesType(indices: unknown, what: string): IndexType {
  const type = INDEX_TYPES.get(tagOf(indices));
  if (type === undefined) {
    const reason = "they must be an Int32Array, a Uint32Array or a BigInt64Array";
    throw wrongType(`use ${what}`, reason, indices);
  }
  checkBuffer(indices as SparseGrad["indices"], what);
  return type;
}

function copyIndices(
  indices: SparseGrad["indices"],
  type: IndexType,
  rows: number,
  what: string,
): Uint32Array<ArrayBuffer> {
  const copy = type.copy(indices);
  const limit = Math.min(rows, type.limit);
  const outside = findFrom(limit, copy);
  if (outside < copy.length) throw indexError(indices, outside, rows, what);
  return copy;
}

/** The place of the first index that is not below the limit, or the number of indices. */
function findFrom(limit: number, indices: Uint32Array): number {
  let i = 0;
  while (i < indices.length && indices[i] < limit) i++;
  return i;
}

/** Reads halves, as a loop over BigInts would make an object of each. */
function narrow(indices: SparseGrad["indices"]): Uint32Array<ArrayBuffer> {
  const length = lengthOf(indices);
  const halves = new Uint32Array(bufferOf(indices), byteOffsetOf(indices), 2 * length);
  // Every platform of Deno is little-endian: the low half comes first.
  const copy = new Uint32Array(length);
  for (let i = 0; i < length; i++) copy[i] = halves[2 * i + 1] === 0 ? halves[2 * i] : WIDER;
  return copy;
}

function indexError(indices: SparseGrad["indices"], i: number, rows: number, what: string) {
  return new RangeError(
    cannot(
      `use ${what}`,
      `its indices must be >= 0 and < ${rows}, its number of rows`,
      `index ${i} is ${indices[i]}`,
    ),
  );
}

/**
 * Refuses what torch refuses of sparse gradients.
 *
 * @param sparse Whether this step's gradient is sparse.
 * @param began Whether the momentum buffer began with a sparse one, where that is known.
 * @throws {RangeError} If a sparse gradient comes with weight decay.
 * @throws {TypeError} If gradients of both kinds meet in one momentum buffer and torch cannot add them.
 */
export function checkSparseOptions(
  h: { readonly momentum: number; readonly weightDecay: number; readonly nesterov: boolean },
  sparse: boolean,
  began: boolean | null,
  what: string,
): void {
  if (sparse && h.weightDecay !== 0) {
    throw outOfRange(`use ${what}`, "a sparse gradient needs weightDecay 0", h.weightDecay);
  }
  if (h.momentum === 0 || began === null || began === sparse) return;
  if (!sparse) {
    throw new TypeError(
      cannot(`use ${what}`, "it must be sparse, like the one that its momentum buffer began with"),
    );
  }
  if (h.nesterov) {
    throw new TypeError(
      cannot(
        `use ${what}`,
        "it must be an array with nesterov, like the one that its momentum buffer began with",
        "it is sparse",
      ),
    );
  }
}
