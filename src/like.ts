/** Checks that an array fits a parameter. */

import { checkBuffer, describe, elementTypeOf } from "./parameter.ts";
import type { ElementType, Tensor } from "./parameter.ts";

/** What an array has to be like: the data of a parameter. */
export interface Like {
  readonly dtype: ElementType | null;
  readonly length: number;
  /** Why it has to have this dtype. @default {"like its data"} */
  readonly reason?: string;
}

/**
 * Checks type, memory and length of what goes with a parameter's data.
 *
 * @throws {TypeError} If it is of another type or on another device, detached or resizable.
 * @throws {RangeError} If its length differs.
 */
export function checkLike(tensor: Tensor, like: Like, what: string): void {
  const { dtype, length, reason = "like its data" } = like;
  const own = elementTypeOf(tensor, what);
  checkBuffer(tensor, what);
  if (own !== dtype) {
    throw new TypeError(
      `Cannot use ${what} as it must be ${placeName(dtype!)}, ${reason}: ` +
        `current value is ${describe(tensor)}`,
    );
  }
  if (tensor.length !== length) {
    throw new RangeError(
      `Cannot use ${what} as its length must be ${length}, like its data: ` +
        `current length is ${tensor.length}`,
    );
  }
}

function placeName({ name, device }: ElementType): string {
  return device === undefined ? name : `${name} on the same GPU`;
}
