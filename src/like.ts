/** Checks that an array fits a parameter. */

import { checkBuffer, describe, findElementType, isFixed, lengthIn } from "./parameter.ts";
import type { ElementType, Tensor } from "./parameter.ts";

/** What an array has to be like: the data of a parameter. */
export interface Like {
  readonly dtype: ElementType | null;
  readonly length: number;
  /** Why it has to have this dtype. @default {"like its data"} */
  readonly reason?: string;
}

/** Whether it fits: `checkLike` says why not. */
export function isLike(tensor: Tensor, dtype: ElementType | null, length: number): boolean {
  const own = findElementType(tensor);
  return own !== undefined && own === dtype && isFixed(tensor) &&
    lengthIn(tensor, own) === length;
}

/**
 * Checks type, memory and length of what goes with a parameter's data.
 *
 * @throws {TypeError} If it is of another type or on another device, detached or resizable.
 * @throws {RangeError} If its length differs.
 */
export function checkLike(tensor: Tensor, like: Like, what: string): void {
  const { dtype, length, reason = "like its data" } = like;
  const own = findElementType(tensor);
  if (own !== undefined) checkBuffer(tensor, what);
  if (own !== dtype) {
    throw new TypeError(
      `Cannot use ${what} as it must be ${placeName(dtype!)}, ${reason}: ` +
        `current value is ${describe(tensor)}`,
    );
  }
  const current = lengthIn(tensor, own!);
  if (current !== length) {
    throw new RangeError(
      `Cannot use ${what} as its length must be ${length}, like its data: ` +
        `current length is ${current}`,
    );
  }
}

function placeName({ name, device }: ElementType): string {
  return device === undefined ? name : `${name} on the same GPU`;
}
