/** Writes the values of a state dict as JSON. */

import { describe } from "../parameter.ts";

/**
 * Writes a value without parts. JSON has every finite number, but `JSON.stringify` drops the sign of
 * zero.
 *
 * @throws {TypeError} If JSON does not have it.
 */
export function writeScalar(key: string, value: unknown): string {
  if (Object.is(value, -0)) return "-0.0";
  const isScalar = value === null || typeof value === "boolean" || Number.isFinite(value) ||
    typeof value === "string" && value.isWellFormed();
  if (!isScalar) {
    throw new TypeError(
      `Cannot encode the state as ${key} must be a string, a finite number, true, false or null: ` +
        `current value is ${describe(value)}`,
    );
  }
  return JSON.stringify(value);
}
