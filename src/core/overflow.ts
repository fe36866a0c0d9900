/** Refuses hyperparameters that the type in which an update is computed cannot hold. */

import type { ElementType } from "./dtype.ts";
import { label } from "./parameter.ts";
import type { RuleOptions } from "./rule.ts";
import { outOfRange } from "./validate.ts";

/** The largest finite values. */
const LARGEST: Readonly<Record<ElementType["name"], number>> = {
  float16: 65504,
  bfloat16: 2 ** 128 - 2 ** 120,
  float32: 2 ** 128 - 2 ** 104,
  float64: Number.MAX_VALUE,
};

/** What every type can hold. */
const SAFE = LARGEST.float16;

/** The hyperparameters that are numbers. */
type Numbers = Readonly<Pick<RuleOptions, "lr" | "momentum" | "dampening" | "weightDecay">>;

/** Whether every type can hold those of a row of the group table, as it is nearly always. */
export function isModest(rows: Float64Array, at: number): boolean {
  return rows[at] <= SAFE && rows[at + 1] <= SAFE && rows[at + 2] <= SAFE && rows[at + 3] <= SAFE;
}

/**
 * The type in which updates are computed, as devices compute in float32 and 16-bit types are computed in
 * that of their momentum buffers.
 */
export function computeTypeOf(
  { dtype, bufferType }: { readonly dtype: ElementType; readonly bufferType: ElementType },
): ElementType["name"] {
  return dtype.device === undefined ? bufferType.name : "float32";
}

/**
 * Checks the hyperparameters that a parameter is stepped by, as torch does. Torch does not look at
 * momentum without nesterov, nor at a first step at what only later ones read; here all are looked at
 * in every step.
 *
 * @param type The type in which the update is computed.
 * @throws {RangeError} If it cannot hold one of them.
 */
export function checkOverflow(
  h: Numbers,
  type: ElementType["name"],
  parameter: { readonly name?: string },
  index: number,
): void {
  const largest = LARGEST[type];
  for (const name of ["lr", "momentum", "weightDecay"] as const) {
    if (h[name] <= largest) continue;
    const reason = `${name} must be at most ${largest}, the largest ${type}`;
    throw outOfRange(`step ${label(parameter, index)}`, reason, h[name]);
  }
  if (h.momentum === 0 || h.dampening - 1 <= largest) return;
  throw outOfRange(
    `step ${label(parameter, index)}`,
    `dampening must be at most ${largest + 1}, so that a ${type} holds 1 - dampening`,
    h.dampening,
  );
}
