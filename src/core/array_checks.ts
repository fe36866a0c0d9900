/** Checks that memory has a fixed place, and that an array fits a parameter. */

import { deviceOf, findElementType, lengthIn } from "./dtype.ts";
import type { DeviceTensor, ElementType, Tensor } from "./dtype.ts";
import type { HostArray } from "./host_array.ts";
import { bufferOf, byteLengthOf, byteOffsetOf, lengthOf, stateOfBuffer } from "./intrinsics.ts";
import type { SparseGrad } from "./parameter.ts";
import { cannot, refusal, wrongType } from "./validate.ts";

/** What an array has to be like: the data of a parameter. */
export interface ArraySpec {
  readonly dtype: ElementType | null;
  readonly length: number;
  /** Why it has to have this dtype. @default {"like its data"} */
  readonly reason?: string;
}

/** Whether a tensor has this dtype and length: `checkMatches` says why not. */
export function matchesSpec(tensor: Tensor, dtype: ElementType | null, length: number): boolean {
  const own = findElementType(tensor);
  return own !== undefined && own === dtype && isFixed(tensor) &&
    lengthIn(tensor, own) === length;
}

/**
 * Checks the type, memory and length of an array that goes with a parameter's data.
 *
 * @throws {TypeError} If it is of another type or on another device, detached or resizable.
 * @throws {RangeError} If its length differs.
 */
export function checkMatches(tensor: Tensor, like: ArraySpec, what: string): void {
  const { dtype, length, reason = "like its data" } = like;
  const own = findElementType(tensor);
  if (own !== undefined) checkBuffer(tensor, what);
  if (own !== dtype) {
    throw wrongType(`use ${what}`, `it must be ${placeName(dtype!)}, ${reason}`, tensor);
  }
  const current = lengthIn(tensor, own!);
  if (current !== length) {
    const needed = `its length must be ${length}, like its data`;
    throw new RangeError(refusal(`use ${what}`, needed, current, "length"));
  }
}

function placeName({ name, device }: ElementType): string {
  return device === undefined ? name : `${name} on the same GPU`;
}

/** The properties that say where the elements of an array are. */
const PROPERTIES = ["length", "buffer", "byteOffset", "byteLength"] as const;

/**
 * Whether memory can neither move nor vanish under a kernel: `checkBuffer` says why not.
 *
 * @throws {Error} If it is a tensor of a device that was disposed of.
 */
export function isFixed(tensor: Tensor | SparseGrad["indices"]): boolean {
  const device = deviceOf(tensor);
  if (device !== undefined) {
    device.address(tensor as DeviceTensor);
    return true;
  }
  if (!isHonest(tensor as HostArray)) return false;
  const { detached, resizableTo } = stateOfBuffer(bufferOf(tensor));
  return !detached && resizableTo === null;
}

/** Whether it is a tensor whose memory is fixed. */
export function isUsable(value: unknown): value is Tensor {
  return findElementType(value) !== undefined && isFixed(value as Tensor);
}

/**
 * Whether the properties of an array tell the truth. No code relies on them: an array that redefines
 * them is refused because its owner would be surprised by what a step does.
 */
function isHonest(array: HostArray): boolean {
  return array.length === lengthOf(array) && array.buffer === bufferOf(array) &&
    array.byteOffset === byteOffsetOf(array) && array.byteLength === byteLengthOf(array);
}

/**
 * Refuses memory that can move or vanish under a kernel: detached and resizable buffers.
 *
 * @throws {TypeError} If the array's buffer is detached, resizable or growable, or if the array hides
 * its true length or buffer.
 */
export function checkBuffer(tensor: Tensor | SparseGrad["indices"], what: string): void {
  if (!isFixed(tensor)) throw bufferError(tensor, what);
}

/** The error that says why memory is not fixed. */
export function bufferError(tensor: Tensor | SparseGrad["indices"], what: string): TypeError {
  const { detached, resizableTo } = stateOfBuffer(bufferOf(tensor));
  if (detached) return new TypeError(cannot(`use ${what}`, "its buffer is detached"));
  if (resizableTo !== null) {
    return new TypeError(
      cannot(
        `use ${what}`,
        "its buffer must have a fixed size",
        `current buffer can be resized up to ${resizableTo} bytes`,
      ),
    );
  }
  const shown = `${tensor.length}, of ${lengthOf(tensor)} elements`;
  const reason = `it must not redefine ${PROPERTIES.join(", ")}`;
  return new TypeError(refusal(`use ${what}`, reason, shown, "length"));
}
