/** The layout of the tables that cross the boundary, as `kernels/src/ffi/layout.rs` has it too. */

import { countOf } from "../core/dtype.ts";
import type { ElementType, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import type { RandomState } from "../core/rounding.ts";
import type { RuleOptions } from "../core/rule.ts";

/** Words of a row of the tensor table. */
export const ROW = 6;

export const DATA = 0;

export const GRAD = 1;

export const BUFFER = 2;

/** The float32 copy of a parameter in a 16-bit type, or its corrections, or 0. */
export const MASTER = 3;

export const LENGTH = 4;

/**
 * In the lower half the dtype's number, above it the formats and above these the state; in the upper
 * half the group.
 */
export const KIND = 5;

export const STATE_BITS = 24;

export const FORMAT_BITS = 16;

const DTYPE_MASK = (1 << FORMAT_BITS) - 1;

const FORMATS_MASK = 0xff << FORMAT_BITS;

/** The gradient is float32 while the parameter is of a 16-bit type. */
export const FORMAT_GRAD_F32 = 1 << 16;

/** The momentum buffer is momentum in 8 bits. */
export const FORMAT_MOMENTUM8 = 1 << 17;

/** The master weight is corrections of 16 bits. */
export const FORMAT_SPLIT = 1 << 18;

/** The master weight is corrections of 8 bits. */
export const FORMAT_SPLIT24 = 1 << 19;

/** Rows from this dtype on are on a device. */
export const DEVICE = 16;

/** The row has no gradient. */
export const SKIP = 0;

/** The row's momentum buffer has never been written. */
export const FIRST = 1;

/** The row's momentum buffer has been written by an earlier step. */
export const LATER = 2;

/**
 * The row's momentum buffer has been written unless every step so far was skipped, which only its device
 * knows.
 */
export const MAYBE = 3;

/** Words of a row of the group table. */
export const GROUP_ROW = 6;

export const LEARNING_RATE = 0;

export const MOMENTUM = 1;

export const DAMPENING = 2;

export const WEIGHT_DECAY = 3;

export const GROUP_FLAGS = 4;

/** What the group's gradients are multiplied by to clip their norm. */
export const COEFFICIENT = 5;

export const FLAG_NESTEROV = 1;

export const FLAG_MAXIMIZE = 2;

export const FLAG_SIGN = 4;

export const FLAG_DECOUPLED = 8;

/** The row that says what a step does to gradients on their way into the rule. */
export type CallRow = Float64Array<ArrayBuffer>;

/** Its words. */
export const CALL_ROW = 11;

/** What gradients are multiplied by to unscale them. */
export const INVERSE_SCALE = 0;

/** The largest magnitude of an element. */
export const MAX_VALUE = 1;

export const CALL_FLAGS = 2;

/** What stochastic rounding draws its random bits from: the seed's halves and the step's number. */
export const SEED_LOW = 3;

export const SEED_HIGH = 4;

export const COUNTER = 5;

/** The address of the table of gradients that are added to those of the rows, or 0. */
export const ADDENDS = 6;

/** How many words that table has for each row. */
export const ADDEND_LISTS = 7;

/** The address of the table of averages, or 0. It has a word for each row. */
export const AVERAGES = 8;

/** The weight of a value in its average ... */
export const AVERAGE_WEIGHT = 9;

/** ... or, if it is not 0, how many values the average is the mean of. */
export const AVERAGE_DIVISOR = 10;

/** Gradients are filled with zeros when they have been used. */
export const FLAG_ZERO = 1;

/**
 * Writes a word of a table in halves: a whole number from 0 to 2 ** 53. The lower half comes first on
 * every platform that Deno runs on.
 */
export function writeWord(halves: Uint32Array, word: number, value: number): void {
  halves[2 * word] = value; // modulo 2 ** 32
  halves[2 * word + 1] = value / 2 ** 32;
}

/** Reads a word that `writeWord` wrote. */
export function readWord(halves: Uint32Array, word: number): number {
  return halves[2 * word] + halves[2 * word + 1] * 2 ** 32;
}

/**
 * Writes what kind of row it is; it is skipped until it gets another state.
 *
 * @param code The number of its dtype, and its formats.
 */
export function writeKind(halves: Uint32Array, row: number, code: number, group: number): void {
  halves[2 * (row * ROW + KIND)] = code;
  halves[2 * (row * ROW + KIND) + 1] = group;
}

/** Gives a row another group, and leaves the rest of its kind. */
export function writeGroupOf(halves: Uint32Array, row: number, group: number): void {
  halves[2 * (row * ROW + KIND) + 1] = group;
}

/** Writes a row's state: `SKIP`, `FIRST`, `LATER` or `MAYBE`. */
export function writeState(halves: Uint32Array, row: number, state: number): void {
  const at = 2 * (row * ROW + KIND);
  halves[at] = (halves[at] & (DTYPE_MASK | FORMATS_MASK)) + state * 2 ** STATE_BITS;
}

/** Says whether a row's gradient is float32 while its parameter is of a 16-bit type. */
export function writeGradFormat(halves: Uint32Array, row: number, isFloat32: boolean): void {
  const at = 2 * (row * ROW + KIND);
  halves[at] = (halves[at] & ~FORMAT_GRAD_F32) + (isFloat32 ? FORMAT_GRAD_F32 : 0);
}

/** What a state adds to the word of a row that is skipped. */
export function stateWord(state: number): bigint {
  return BigInt(state * 2 ** STATE_BITS);
}

/** A row's state. */
export function stateOf(halves: Uint32Array, row: number): number {
  return halves[2 * (row * ROW + KIND)] >>> STATE_BITS;
}

/** The number of a row's dtype. */
export function codeIn(halves: Uint32Array, row: number): number {
  return halves[2 * (row * ROW + KIND)] & DTYPE_MASK;
}

/** A row's formats: flags such as `FORMAT_MOMENTUM8`. */
export function formatsIn(halves: Uint32Array, row: number): number {
  return halves[2 * (row * ROW + KIND)] & FORMATS_MASK;
}

/** The number of a row's group. */
export function groupOf(halves: Uint32Array, row: number): number {
  return halves[2 * (row * ROW + KIND) + 1];
}

/** Whether a row has a gradient in JavaScript's memory. */
export function isHostRow(halves: Uint32Array, row: number): boolean {
  return stateOf(halves, row) !== SKIP && codeIn(halves, row) < DEVICE;
}

/** Writes a group's row of the group table, from word `at` on. Its gradients are not clipped. */
export function writeGroup(rows: Float64Array, at: number, h: Readonly<RuleOptions>): void {
  rows[at + LEARNING_RATE] = h.lr;
  rows[at + MOMENTUM] = h.momentum;
  rows[at + DAMPENING] = h.dampening;
  rows[at + WEIGHT_DECAY] = h.weightDecay;
  rows[at + GROUP_FLAGS] = (h.nesterov ? FLAG_NESTEROV : 0) |
    (h.maximize ? FLAG_MAXIMIZE : 0) | (h.sign ? FLAG_SIGN : 0) |
    (h.decoupledWeightDecay ? FLAG_DECOUPLED : 0);
  rows[at + COEFFICIENT] = 1;
}

/** The hyperparameters in a group's row, which a step uses even if the group is reassigned while it runs. */
export function readGroup(rows: Float64Array, group: number): RuleOptions {
  const at = group * GROUP_ROW;
  const flags = rows[at + GROUP_FLAGS];
  return {
    lr: rows[at + LEARNING_RATE],
    momentum: rows[at + MOMENTUM],
    dampening: rows[at + DAMPENING],
    weightDecay: rows[at + WEIGHT_DECAY],
    nesterov: (flags & FLAG_NESTEROV) !== 0,
    maximize: (flags & FLAG_MAXIMIZE) !== 0,
    sign: (flags & FLAG_SIGN) !== 0,
    decoupledWeightDecay: (flags & FLAG_DECOUPLED) !== 0,
  };
}

/** What a step does to gradients on their way into the rule. */
export interface CallOptions {
  /** What gradients are multiplied by to unscale them. */
  readonly inverseScale: number;
  /** The largest magnitude of an element. */
  readonly maxValue: number;
  /** Whether gradients are filled with zeros when they have been used. */
  readonly zeroGrad: boolean;
}

/** Writes what a step was asked to do to its gradients, and where its random bits come from. */
export function writeCall(
  row: Float64Array,
  { inverseScale, maxValue, zeroGrad }: CallOptions,
  { seed, counter }: RandomState,
  addends: { readonly address: number; readonly count: number },
): void {
  row[INVERSE_SCALE] = inverseScale;
  row[MAX_VALUE] = maxValue;
  row[CALL_FLAGS] = zeroGrad ? FLAG_ZERO : 0;
  row[SEED_LOW] = seed % 2 ** 32;
  row[SEED_HIGH] = Math.floor(seed / 2 ** 32);
  row[COUNTER] = counter;
  row[ADDENDS] = addends.address;
  row[ADDEND_LISTS] = addends.count;
}

/** Averages that the pass of a step updates. */
export interface AverageTable {
  /** The address of the table; 0 for none. */
  readonly address: number;
  readonly weight: number;
  readonly divisor: number;
}

const NO_AVERAGES: AverageTable = { address: 0, weight: 0, divisor: 0 };

/** Writes which averages the step updates. */
export function writeAverages(row: Float64Array, averages: AverageTable = NO_AVERAGES): void {
  row[AVERAGES] = averages.address;
  row[AVERAGE_WEIGHT] = averages.weight;
  row[AVERAGE_DIVISOR] = averages.divisor;
}

/** Gradients that are added to those of rows. */
export interface AddedGradients {
  /** How many can be added to that of a row. */
  readonly count: number;
  /** So many words for each row: addresses, or 0 for none. */
  readonly words: BigUint64Array<ArrayBuffer>;
  /** What is added to the gradient of a row, in order; null if that is nothing. */
  of(row: number): readonly HostArray[] | null;
  /** All arrays, in no order. */
  readonly arrays: readonly HostArray[];
  /** The name of the first array that has been detached since it was checked; null if there is none. */
  findDetached(): string | null;
}

/** What most steps add. */
export const NOTHING_ADDED: AddedGradients = Object.freeze({
  count: 0,
  words: new BigUint64Array(0),
  of: () => null,
  arrays: [],
  findDetached: () => null,
});

/** Gradients in tables: those of a plan, or some that belong to no plan. */
export interface Gradients {
  /** The tensor table. */
  readonly rows: BigUint64Array<ArrayBuffer>;
  /** The same in halves of words. */
  readonly halves: Uint32Array;
  /** The group table. */
  readonly groupRows: Float64Array<ArrayBuffer>;
  /** What the rows of the tensor table were written from; null where there is no gradient. */
  readonly grads: readonly (Tensor | null)[];
  /** As many as the group table has rows. */
  readonly groups: { readonly length: number };
  /** What is added to them. */
  readonly addends: AddedGradients;
}

/** Rows of the tensor table. One at least: the native library takes a table of no bytes for a missing one. */
export function createRows(count: number): BigUint64Array<ArrayBuffer> {
  return new BigUint64Array(Math.max(1, count) * ROW);
}

/** A gradient that gets a row of a table. */
export interface Tabulated {
  readonly grad: Tensor;
  readonly dtype: ElementType;
  /** The number of its group. @default {0} */
  readonly group?: number;
}

/**
 * Tables of gradients that belong to no row of a plan.
 *
 * @param of The groups that they are in; one by default.
 */
export function tabulate(
  gradients: readonly Tabulated[],
  address: (array: Tensor) => number,
  of: Pick<Gradients, "groups" | "groupRows"> = oneGroup(),
): Gradients {
  const rows = createRows(gradients.length);
  const halves = new Uint32Array(rows.buffer);
  gradients.forEach(({ grad, dtype: { code }, group = 0 }, i) => {
    writeWord(halves, i * ROW + DATA, address(grad));
    writeWord(halves, i * ROW + GRAD, address(grad));
    writeWord(halves, i * ROW + LENGTH, countOf(grad));
    writeKind(halves, i, code, group);
    writeState(halves, i, FIRST);
  });
  const grads = gradients.map(({ grad }) => grad);
  const { groups, groupRows } = of;
  return { rows, halves, groupRows, grads, groups, addends: NOTHING_ADDED };
}

function oneGroup(): Pick<Gradients, "groups" | "groupRows"> {
  const groupRows = new Float64Array(GROUP_ROW);
  groupRows[COEFFICIENT] = 1;
  return { groups: { length: 1 }, groupRows };
}
