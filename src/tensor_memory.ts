/** The memory of the tensors of a plan, and how arrays of the optimizer's own get a place in it. */

import type { Dtype, ElementType, Tensor } from "./parameter.ts";
import { placeAll, Slab } from "./slab.ts";

/** What an array of the optimizer's own is: a tensor, or an address on a slab. */
export type Held<T extends Tensor = Tensor> = T | Slab;

/** The memory of the tensors of a plan. */
export interface TensorMemory {
  /** Where an array's bytes begin, as the backend reads it from the tables. */
  readonly address: (array: Tensor | Uint32Array<ArrayBuffer>) => number;
  /** Makes a slab of zeros; null if each array is to have memory of its own. */
  readonly allocate: ((bytes: number) => Slab) | null;
}

/** Arrays to be made, by numbers from 0 on. */
export interface Wanted {
  readonly count: number;
  /** Null for a number that stands for none. */
  readonly typeOf: (i: number) => ElementType | null;
  readonly lengthOf: (i: number) => number;
  /** Takes an array of zeros. */
  readonly hold: (i: number, held: Held, address: number) => void;
}

/** Makes arrays: tensors on devices by themselves, those of the host on slabs. */
export function makeArrays(
  { address, allocate }: TensorMemory,
  { count, typeOf, lengthOf, hold }: Wanted,
): void {
  for (let i = 0; i < count; i++) {
    const type = typeOf(i);
    if (type === null || (allocate !== null && type.device === undefined)) continue;
    const tensor = type.zeros(lengthOf(i));
    hold(i, tensor, address(tensor));
  }
  if (allocate === null) return;
  const bytesOf = (i: number) => {
    const type = typeOf(i);
    return type === null || type.device !== undefined ? -1 : lengthOf(i) * type.bytes;
  };
  placeAll({ count, bytesOf, place: hold }, allocate);
}

/** An array as an object; one on a slab is made for the caller. */
export function objectOf(held: Held, type: ElementType, address: number, length: number): Tensor {
  return held instanceof Slab ? held.view(type as Dtype, address, length) : held;
}

/** Whether it is an array or a tensor with memory of its own. */
export function isObject(held: Held | null): held is Tensor {
  return held !== null && !(held instanceof Slab);
}
