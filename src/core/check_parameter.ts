/** Checks parameters as a user gives them: their kind, name, shape and data. */

import { checkBuffer, isUsable } from "./array_checks.ts";
import { countOf, elementTypeOf } from "./dtype.ts";
import type { Tensor } from "./dtype.ts";
import { label } from "./parameter.ts";
import type { Parameter } from "./parameter.ts";
import { cannot, checkString, describe, refusal, wrongType } from "./validate.ts";

/**
 * Checks what does not change between steps: the kind of object, its name, shape and data.
 *
 * @param checkType Refuses data of a type that cannot be used; its error lists those that can.
 * @throws {TypeError} If it is not a parameter, or its name or shape is of another type.
 * @throws {RangeError} If the shape's product is not the length of the data.
 */
export function checkParameter(
  value: unknown,
  index: number,
  checkType: (data: unknown, what: string) => unknown = elementTypeOf,
): asserts value is Parameter<Tensor> {
  if (typeof value !== "object" || value === null || !("data" in value)) {
    throw wrongType(`use parameter ${index}`, "it must be an object { data, grad }", value);
  }
  const { data, name, shape } = value as Parameter<Tensor>;
  if (name !== undefined) checkString(`use parameter ${index}`, name, "name");
  if (!isUsable(data)) {
    const what = `data of ${label({ name }, index)}`;
    checkType(data, what);
    checkBuffer(data, what);
  }
  if (shape === undefined) return;
  const length = countOf(data);
  if (!isShape(shape, length)) checkShape(shape, length, label({ name }, index));
}

/** Whether it is the shape of a tensor of so many elements: `checkShape` says why not. */
function isShape(shape: unknown, length: number): shape is readonly number[] {
  if (!Array.isArray(shape)) return false;
  let product = 1;
  for (let i = 0; i < shape.length; i++) {
    if (!Number.isSafeInteger(shape[i]) || shape[i] < 0) return false;
    product *= shape[i];
  }
  return product === length;
}

/**
 * Checks the shape of a tensor of so many elements.
 *
 * @throws {TypeError} If it is not an array of whole numbers >= 0.
 * @throws {RangeError} If its product is not the number of elements.
 */
export function checkShape(shape: unknown, length: number, what: string): void {
  if (isShape(shape, length)) return;
  if (!Array.isArray(shape) || !shape.every((side) => Number.isSafeInteger(side) && side >= 0)) {
    const shown = Array.isArray(shape) ? `[${shape.join(", ")}]` : describe(shape);
    const reason = "shape must be an array of whole numbers >= 0";
    throw new TypeError(refusal(`use ${what}`, reason, shown));
  }
  const product = shape.reduce((a, b) => a * b, 1);
  throw new RangeError(
    cannot(
      `use ${what}`,
      `its shape must have ${length} elements, like its data`,
      `current shape [${shape.join(", ")}] has ${product}`,
    ),
  );
}
