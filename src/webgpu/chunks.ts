/** Cuts the rows of a step into what the shaders take: chunks of tensors, and pieces of gradients. */

import type { DeviceTables } from "../core/device.ts";
import {
  BUFFER,
  codeIn,
  DATA,
  FIRST,
  GRAD,
  groupOf,
  LENGTH,
  MAYBE,
  readGroup,
  readWord,
  ROW,
  SKIP,
  stateOf,
} from "../plan/layout.ts";
import type { RuleOptions } from "../core/rule.ts";
import { placeAt } from "./places.ts";
import type { Place } from "./places.ts";
import { Windows } from "./windows.ts";

/** Words of a chunk and of a piece, as the shaders read them. */
export const CHUNK = 6;

export const PIECE = 3;

/** Bits that say which lines of the rule a group's step has. */
export const DECAY = 1;

export const SHRINK = 2;

export const MOMENTUM = 4;

export const NESTEROV = 8;

export const SIGN = 16;

/** A row of a step, on the device. */
export interface DeviceRow {
  readonly isHalf: boolean;
  readonly data: Place;
  readonly grad: Place;
  /** Null without momentum. */
  readonly buffer: Place | null;
  /** The address of the buffer, 0 if there is none. */
  readonly bufferAddress: number;
  readonly length: number;
  readonly group: number;
  /** `FIRST`, `LATER` or `MAYBE`. */
  readonly state: number;
}

/** Chunks of one dispatch. */
export interface Bucket {
  readonly isHalf: boolean;
  readonly lines: number;
  /** The numbers of the windows of data, gradient and buffer. Without momentum the last is the first. */
  readonly windows: readonly [data: number, grad: number, buffer: number];
  readonly words: number[];
}

/** Pieces of one dispatch. */
export interface PieceBucket {
  readonly isHalf: boolean;
  readonly window: number;
  readonly words: number[];
}

/** How a step is cut. */
export interface Cuts {
  /** The most elements of a chunk. */
  readonly chunkElements: number;
  /** The most bytes of a binding. */
  readonly windowBytes: number;
}

/** Which lines of the rule the step of a group has. */
export function linesOf(h: RuleOptions): number {
  const { momentum, nesterov, sign } = h;
  return decayOf(h) | (momentum === 0 ? 0 : MOMENTUM) |
    (momentum !== 0 && nesterov ? NESTEROV : 0) | (sign ? SIGN : 0);
}

function decayOf({ weightDecay, decoupledWeightDecay }: RuleOptions): number {
  if (weightDecay === 0) return 0;
  return decoupledWeightDecay ? SHRINK : DECAY;
}

/** The rows that are on the device, by the numbers of its two dtypes. */
export function readRows(
  { rows, from, to, groups }: DeviceTables,
  codes: { readonly float32: number; readonly float16: number },
): DeviceRow[] {
  const halves = new Uint32Array(rows.buffer);
  const found: DeviceRow[] = [];
  for (let row = from; row < to; row++) {
    const [state, code] = [stateOf(halves, row), codeIn(halves, row)];
    if (state === SKIP || (code !== codes.float32 && code !== codes.float16)) continue;
    const word = (name: number) => readWord(halves, row * ROW + name);
    const length = word(LENGTH); // 0 has no chunks, but a momentum buffer that is written or not
    const group = groupOf(halves, row);
    const bufferAddress = readGroup(groups, group).momentum === 0 ? 0 : word(BUFFER);
    const buffer = bufferAddress === 0 ? null : placeAt(bufferAddress);
    const places = { data: placeAt(word(DATA)), grad: placeAt(word(GRAD)), buffer };
    found.push({ ...places, isHalf: code === codes.float16, bufferAddress, length, group, state });
  }
  return found;
}

/** What a step is cut into. */
export interface Cut {
  readonly windows: Windows;
  readonly buckets: readonly Bucket[];
  /** Empty if nothing is measured. */
  readonly pieces: readonly PieceBucket[];
  /** The number of the piece after the last one of each group. */
  readonly ends: readonly number[];
}

/**
 * Cuts the rows of a step.
 *
 * @param linesAt The lines of each group.
 * @param firstOf What the shader reads as `first`, by the row's place in the list.
 */
export function cut(
  rows: readonly DeviceRow[],
  linesAt: readonly number[],
  firstOf: (index: number) => number,
  isMeasured: boolean,
  cuts: Cuts,
): Cut {
  const windows = new Windows(cuts.windowBytes);
  const buckets = new Map<string, Bucket>();
  rows.forEach((row, i) => cutRow(row, linesAt[row.group], firstOf(i), { windows, buckets, cuts }));
  const { pieces, ends } = isMeasured
    ? cutPieces(rows, linesAt.length, windows, cuts)
    : { pieces: [], ends: linesAt.map(() => 0) };
  return { windows, buckets: [...buckets.values()], pieces, ends };
}

interface Cutting {
  readonly windows: Windows;
  readonly buckets: Map<string, Bucket>;
  readonly cuts: Cuts;
}

function cutRow(
  row: DeviceRow,
  lines: number,
  first: number,
  { windows, buckets, cuts }: Cutting,
): void {
  const { isHalf, length, group } = row;
  const bytes = isHalf ? 2 : 4;
  const places = [row.data, row.grad, row.buffer ?? row.data];
  for (let at = 0; at < length;) {
    const here = places.map(({ buffer, offset }) => ({ buffer, offset: offset + at * bytes }));
    const room = Math.min(...here.map((place) => windows.room(place))) / bytes;
    const count = Math.min(cuts.chunkElements, length - at, room);
    const [data, grad, buffer] = here.map((place) => windows.numberOf(place));
    const key = `${isHalf} ${lines} ${data} ${grad} ${buffer}`;
    let bucket = buckets.get(key);
    if (bucket === undefined) {
      bucket = { isHalf, lines, windows: [data, grad, buffer], words: [] };
      buckets.set(key, bucket);
    }
    bucket.words.push(...here.map((place) => windows.within(place) / bytes), count, group, first);
    at += count;
  }
}

/** The pieces of a group have numbers that follow each other, in the order of its rows. */
function cutPieces(
  rows: readonly DeviceRow[],
  groupCount: number,
  windows: Windows,
  { chunkElements }: Cuts,
) {
  const buckets = new Map<string, PieceBucket>();
  const ends: number[] = [];
  let number = 0;
  for (let group = 0; group < groupCount; group++) {
    for (const { isHalf, grad, length } of rows.filter((row) => row.group === group)) {
      const bytes = isHalf ? 2 : 4;
      for (let at = 0; at < length;) {
        const place = { buffer: grad.buffer, offset: grad.offset + at * bytes };
        const count = Math.min(chunkElements, length - at, windows.room(place) / bytes);
        const window = windows.numberOf(place);
        const key = `${isHalf} ${window}`;
        let bucket = buckets.get(key);
        if (bucket === undefined) buckets.set(key, bucket = { isHalf, window, words: [] });
        bucket.words.push(windows.within(place) / bytes, count, number++);
        at += count;
      }
    }
    ends.push(number);
  }
  return { pieces: [...buckets.values()], ends };
}

/** Whether a row's momentum buffer may be written by this step alone, or not at all. */
export function isUnsure({ state, buffer }: DeviceRow, isMeasured: boolean): boolean {
  return buffer !== null && (state === MAYBE || (state === FIRST && isMeasured));
}
