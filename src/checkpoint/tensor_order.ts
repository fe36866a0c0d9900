/** The order of tensors in a file. */

import { storedTypeOf } from "../state/stored_array.ts";
import { bitsOfDtype, rankOfDtype } from "./file_dtypes.ts";
import type { FileArray } from "./file_dtypes.ts";

/** Letters that a number holds: 6 of 8 bits. */
const LETTERS = 6;

const LAST = 255;

interface Keyed {
  readonly tensor: Tensor;
  readonly name: string;
  key: number;
}

/** By what tensors are sorted before their names; the largest come first. */
export type TensorRank = (tensor: Tensor) => number;

/** The order of state: the widest elements first, so that each is aligned. */
export const byWidth: TensorRank = (tensor) => bitsOfDtype(dtypeOfTensor(tensor)) ?? 0;

/** The order of the format's own libraries: by dtype, of which the widest are the last in its list. */
export const byDtype: TensorRank = (tensor) => rankOfDtype(dtypeOfTensor(tensor));

/**
 * Sorts tensors by rank, then by name.
 *
 * Names are compared by as many letters at a time as a number holds: to compare 200,000 strings as
 * a whole took a quarter of a second.
 */
export function sortTensors(tensors: readonly Tensor[], rankOf = byWidth): Tensor[] {
  const byRank = new Map<number, Tensor[]>();
  for (const tensor of tensors) {
    const rank = rankOf(tensor);
    const group = byRank.get(rank);
    if (group === undefined) byRank.set(rank, [tensor]);
    else group.push(tensor);
  }
  return [...byRank].sort(([a], [b]) => b - a).flatMap(([, group]) => {
    const keyed = group.map((tensor): Keyed => ({ tensor, name: tensor.name, key: 0 }));
    return sortFrom(keyed, 0).map(({ tensor }) => tensor);
  });
}

/** Sorts names that are equal before a place. */
function sortFrom(items: Keyed[], place: number): Keyed[] {
  const at = skipEqual(items, place);
  for (const item of items) item.key = keyOf(item.name, at);
  items.sort((a, b) => a.key - b.key);
  for (let from = 0; from < items.length;) {
    let to = from + 1;
    while (to < items.length && items[to].key === items[from].key) to++;
    if (to - from > 1) sortEqual(items, from, to, at);
    from = to;
  }
  return items;
}

/** Sorts names whose letters from a place on make the same number. */
function sortEqual(items: Keyed[], from: number, to: number, at: number): void {
  const part = items.slice(from, to);
  const isExact = part.every(({ name }) => hasAll(name, at));
  const sorted = isExact
    ? sortFrom(part, at + LETTERS)
    : part.sort((a, b) => a.name < b.name ? -1 : 1);
  for (const [i, item] of sorted.entries()) items[from + i] = item;
}

/** A number that is in no other order than the names. */
function keyOf(name: string, at: number): number {
  let key = 0;
  let isExact = true;
  for (let i = at; i < at + LETTERS; i++) {
    const code = isExact && i < name.length ? Math.min(name.charCodeAt(i), LAST) : 0;
    // What follows a letter that the number cannot hold must not count.
    if (code === LAST) isExact = false;
    key = key * 256 + code;
  }
  return key;
}

/** Whether a name has so many letters from a place on, and the number holds all of them. */
function hasAll(name: string, at: number): boolean {
  for (let i = at; i < at + LETTERS; i++) if (!(name.charCodeAt(i) < LAST)) return false;
  return true;
}

/** The first place, from one on, at which not all names are equal. */
function skipEqual(items: readonly Keyed[], place: number): number {
  // The shortest first: then no letter is looked at that is not skipped, but for one of each name.
  let end = items.reduce((shortest, { name }) => Math.min(shortest, name.length), Infinity);
  const { name: first = "" } = items[0] ?? {};
  for (const { name } of items) {
    let same = place;
    while (same < end && name.charCodeAt(same) === first.charCodeAt(same)) same++;
    end = same;
  }
  return end;
}

/** A tensor to be written. */
export interface Tensor {
  /** Its name in the file. */
  readonly name: string;
  /** Its values. */
  readonly array: FileArray;
  /** Its shape. */
  readonly shape: readonly number[];
  /** The format's name of its dtype. @default {that of the array} */
  readonly dtype?: string;
}

/**
 * The format's name of a tensor's dtype.
 *
 * @throws {TypeError} If it has none, and neither has its array.
 */
export function dtypeOfTensor({ dtype, array, name }: Tensor): string {
  return dtype ?? storedTypeOf(array, name).safetensors;
}
