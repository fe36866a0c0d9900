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

/** The largest value that every type can hold. */
const SAFE = LARGEST.float16;

/** The hyperparameters that are numbers. */
type Numbers = Readonly<
  Pick<RuleOptions, "lr" | "momentum" | "dampening" | "weightDecay" | "decoupledWeightDecay">
>;

/**
 * Whether every type can hold the hyperparameters of a row of the group table, which is the usual
 * case.
 */
export function isModest(rows: Float64Array, at: number): boolean {
  return rows[at] <= SAFE && rows[at + 1] <= SAFE && rows[at + 2] <= SAFE && rows[at + 3] <= SAFE;
}

/**
 * The type in which updates are computed: devices compute in float32, and 16-bit types are computed in
 * the type of their momentum buffers.
 */
export function updateTypeOf(
  { dtype, bufferType }: { readonly dtype: ElementType; readonly bufferType: ElementType },
): ElementType["name"] {
  return dtype.device === undefined ? bufferType.name : "float32";
}

/**
 * Checks the hyperparameters of a parameter's step, as torch does. Torch skips momentum without
 * nesterov, and at a first step the ones that only later steps read; here every step checks all of
 * them.
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
  const step = `step ${label(parameter, index)}`;
  const factors = h.decoupledWeightDecay ? FACTORS.decoupled : FACTORS.coupled;
  for (const name of factors) {
    if (h[name] <= largest) continue;
    throw outOfRange(step, `${name} must be at most ${largest}, the largest ${type}`, h[name]);
  }
  if (h.decoupledWeightDecay) checkShrink(h, type, step);
  if (h.momentum === 0 || h.dampening - 1 <= largest) return;
  const reason = `dampening must be at most ${largest + 1}, so that a ${type} holds 1 - dampening`;
  throw outOfRange(step, reason, h.dampening);
}

/** The hyperparameters that are factors themselves. */
const FACTORS = {
  coupled: ["lr", "momentum", "weightDecay"],
  decoupled: ["lr", "momentum"],
} as const;

/** Checks the factor of decoupled weight decay, which is at least float32, as in torch. */
function checkShrink(
  { lr, weightDecay }: Numbers,
  type: ElementType["name"],
  step: string,
): void {
  const name = type === "float64" ? type : "float32";
  if (lr * weightDecay - 1 <= LARGEST[name]) return;
  const reason =
    `weightDecay must be such that a ${name} holds 1 - lr * weightDecay, with lr ${lr}`;
  throw outOfRange(step, reason, weightDecay);
}
