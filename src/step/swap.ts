/** Exchanges the values of parameters with their averages, and back. */

import { store } from "../core/convert.ts";
import { isSixteenBit } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { copyOf, lengthOf, part, setAll } from "../core/intrinsics.ts";
import { nameArray } from "../core/parameter.ts";
import { cannot } from "../core/validate.ts";
import type { Averaged } from "./averaged.ts";

/** Elements that are exchanged at a time. */
const TILE = 1 << 14;

/** What brings the values of parameters back. */
export interface Swapped {
  readonly datas: readonly HostArray[];
  /** The values of parameters in 16-bit types, of which averages have more bits; null for others. */
  readonly values: readonly (HostArray | null)[];
}

/** Writes averages into the data of their parameters, which have been checked. */
export function swapIn(list: readonly Averaged[], datas: readonly HostArray[]): Swapped {
  const values = list.map(({ dtype }, i) => isSixteenBit(dtype) ? copyOf(datas[i]) : null);
  list.forEach(({ average }, i) => {
    if (values[i] === null) exchange(average, datas[i]);
    else store(average as Float32Array, part(datas[i], 0, lengthOf(datas[i])));
  });
  return { datas, values };
}

/**
 * Writes the values of parameters back.
 *
 * @param datas The data of the parameters, which have been checked.
 * @throws {Error} If a parameter has other data than were swapped; nothing is written then.
 */
export function swapOut(
  list: readonly Averaged[],
  { datas: before, values }: Swapped,
  datas: readonly HostArray[],
): void {
  const replaced = datas.findIndex((data, i) => data !== before[i]);
  if (replaced >= 0) {
    const what = nameArray(list[replaced], replaced, "data");
    throw new Error(cannot("swap back", `${what} must be the array that has the average`));
  }
  list.forEach(({ average }, i) => {
    const own = values[i];
    if (own === null) exchange(average, datas[i]);
    else setAll(datas[i], own);
  });
}

/** Exchanges the elements of two arrays of one type and length. */
function exchange(a: HostArray, b: HostArray): void {
  const length = lengthOf(a);
  for (let from = 0; from < length; from += TILE) {
    const [own, other] = [part(a, from, from + TILE), part(b, from, from + TILE)];
    const before = copyOf(own);
    setAll(own, other);
    setAll(other, before);
  }
}
