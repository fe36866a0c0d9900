/** The lists of the functional form: reads what they have, and fills in what a step has made. */

import { cannot, checkArray } from "../core/validate.ts";

/**
 * Reads each entry of the lists once. What their getters do cannot change the lists afterwards.
 *
 * @throws {TypeError} If they are not arrays, or empty.
 * @throws {RangeError} If they are not of one length.
 */
export function readLists<T, G, B>(
  params: readonly T[],
  gradList: readonly G[],
  momentumBufferList: readonly B[],
): { datas: T[]; grads: G[]; buffers: B[] } {
  const length = Array.isArray(params) ? params.length : 0;
  for (const [name, list] of Object.entries({ params, gradList, momentumBufferList })) {
    checkList(name, list, length);
  }
  if (length === 0) throw new TypeError(cannot("step", "params must not be empty"));
  return {
    datas: readList(params, length),
    grads: readList(gradList, length),
    buffers: readList(momentumBufferList, length),
  };
}

/**
 * Reads each entry of the list of master weights once, like `readLists`.
 *
 * @returns Nulls if there is no list.
 */
export function readMasters<M>(list: readonly M[] | undefined, length: number): (M | null)[] {
  if (list === undefined) return Array.from({ length }, () => null);
  checkList("masterWeightList", list, length);
  return readList(list, length);
}

function readList<E>(list: readonly E[], length: number): E[] {
  return Array.from({ length }, (_, i) => list[i]);
}

function checkList(name: string, list: unknown, length: number): void {
  checkArray("step", list, name);
  if (list.length === length) return;
  throw new RangeError(
    cannot("step", `${name} must have ${length} entries, like params`, `it has ${list.length}`),
  );
}

/** A list of state, and what a step has made for its entries; null for those that stay. */
export interface Filling {
  readonly name: string;
  readonly list: unknown[];
  readonly made: readonly unknown[];
}

/**
 * Fills in the state that a step has made, before it is taken: all of it or none.
 *
 * @returns A function that takes the new entries out again.
 * @throws {TypeError} If an entry cannot be written.
 */
export function fillIn(fillings: readonly Filling[]): () => void {
  const entries = fillings.flatMap(({ name, list, made }) =>
    made.flatMap((array, i) => array === null ? [] : [{ name, list, array, i }])
  );
  for (const { name, list, i } of entries) {
    if (!Object.getOwnPropertyDescriptor(list, i)?.writable) throw readOnly(name, i);
  }
  const done: { list: unknown[]; i: number }[] = [];
  const takeOut = () => {
    for (const { list, i } of done) Reflect.set(list, i, null);
  };
  try {
    for (const { name, list, array, i } of entries) {
      if (!Reflect.set(list, i, array)) throw readOnly(name, i);
      done.push({ list, i });
    }
  } catch (error) {
    takeOut();
    throw error;
  }
  return takeOut;
}

function readOnly(name: string, i: number): TypeError {
  return new TypeError(
    cannot("step", `entry ${i} of ${name} must be writable`, "it is null and read-only"),
  );
}
