/** The configuration of an optimizer as saved models have it: plain JSON. */

import { HYPERPARAMETERS } from "../core/hyperparameters.ts";
import type { Hyperparameters } from "../core/hyperparameters.ts";
import { isPlainObject } from "../core/validate.ts";

/**
 * The configuration of an optimizer, which JSON can hold.
 *
 * @category TensorFlow.js
 */
export type OptimizerConfig = {
  [name: string]: OptimizerConfig | boolean | number | string | null;
};

/** JSON has no infinity: `maxNorm: Infinity` is this word. */
const INFINITY = "Infinity";

/** Options as JSON can hold them; what has a class or is a list is left out. */
export function toConfig(options: object): OptimizerConfig {
  return Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => isJson(value))
      .map(([name, value]) => [name, toJson(value)]),
  );
}

function isJson(value: unknown): boolean {
  if (typeof value === "object") return value === null || isPlainObject(value);
  return ["boolean", "number", "string"].includes(typeof value);
}

function toJson(value: unknown): OptimizerConfig[string] {
  if (value === Infinity) return INFINITY;
  return typeof value === "object" && value !== null
    ? toConfig(value)
    : value as OptimizerConfig[string];
}

/** The options of a configuration, without `customObjects`, which tfjs adds when it loads a model. */
export function fromConfig(
  { customObjects: _, ...config }: OptimizerConfig,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).map(([name, value]) => [name, fromJson(value)]));
}

function fromJson(value: OptimizerConfig[string]): unknown {
  if (value === INFINITY) return Infinity;
  // A program may have added lists, such as variables, and objects that have a class.
  return isPlainObject(value) ? fromConfig(value as OptimizerConfig) : value;
}

/** The hyperparameters of a group, without its parameters. */
export function hyperparametersOf(group: Readonly<Hyperparameters>): Hyperparameters {
  const values = HYPERPARAMETERS.map((name) => [name, group[name]] as const);
  return Object.fromEntries(values) as unknown as Hyperparameters;
}
