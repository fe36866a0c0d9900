/** A step of the rule on the host, as a device computes it, with options as a group has them. */

import type { ParamGroup } from "@descent/sgd";
import { arithmeticOf, stepReference } from "../../gpu/reference.ts";
import type { Habits, Reference } from "../../gpu/reference.ts";

/** The hyperparameters of a step. */
export type Options = Partial<Omit<ParamGroup, "params" | "lr">> & { readonly lr: number };

/** What happens to gradients on their way into the rule. */
export interface Preparation {
  readonly inverseScale?: number;
  /** What the device has reported. */
  readonly coefficient?: number;
  readonly maxValue?: number;
}

const DEFAULTS = {
  ...{ momentum: 0, dampening: 0, weightDecay: 0 },
  ...{ nesterov: false, maximize: false, sign: false },
};

/** Takes a step. A float16 tensor is rounded when it is stored. */
export function stepTwin(
  twin: Reference,
  options: Options,
  traits: Habits,
  { inverseScale = 1, coefficient = 1, maxValue = Infinity }: Preparation = {},
  store: ((x: number) => number) | null = null,
): void {
  const group = { ...DEFAULTS, ...options } as ParamGroup;
  const preparation = { scale: inverseScale, coefficient, limit: maxValue };
  stepReference(arithmeticOf(traits), twin, group, preparation);
  if (store === null) return;
  for (const array of [twin.data, twin.buffer]) array?.forEach((x, i) => array[i] = store(x));
}
