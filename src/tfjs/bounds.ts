/** The variables of an optimizer, and the parameters that stand for them. */

import { cannot, describe, wrongType } from "../core/validate.ts";
import type { Tf, TfGradients, TfTensor, TfVariable } from "./api.ts";
import { sizeOf } from "./memory.ts";
import type { Bound } from "./memory.ts";

/** A variable and its gradient, or null for "none this time". */
export type Pair = readonly [variable: TfVariable, gradient: TfTensor | null];

/**
 * Finds the variables of gradients.
 *
 * @throws {TypeError} If gradients are of another type, or one or its variable is not float32.
 * @throws {RangeError} If there is no variable of a name, or a name is repeated.
 */
export function readGradients(tf: Tf, gradients: TfGradients): Pair[] {
  if (typeof gradients !== "object" || gradients === null) {
    throw wrongType("apply the gradients", "they must be an object or an array", gradients);
  }
  const { registeredVariables } = tf.engine();
  const named = Array.isArray(gradients) ? gradients.map(readPair) : Object.entries(gradients);
  checkNames(named.map(([name]) => name), registeredVariables);
  return named.flatMap(([name, gradient]): Pair[] => {
    const variable = registeredVariables[name];
    const isFloat = variable.dtype === "float32";
    if (gradient === null || gradient === undefined) return isFloat ? [[variable, null]] : [];
    if (!isFloat) throw dtypeError(variable, `variable "${name}"`);
    if (typeof gradient.dataSync !== "function") {
      throw wrongType(`use the gradient of "${name}"`, "it must be a tensor of tfjs", gradient);
    }
    if (gradient.dtype !== "float32") throw dtypeError(gradient, `the gradient of "${name}"`);
    return [[variable, gradient]];
  });
}

function readPair(pair: unknown): readonly [string, TfTensor | null | undefined] {
  if (typeof pair !== "object" || pair === null) {
    throw wrongType("apply the gradients", "each must be an object { name, tensor }", pair);
  }
  const { name, tensor } = pair as { name: string; tensor: TfTensor | null | undefined };
  return [name, tensor];
}

function checkNames(names: readonly string[], variables: object): void {
  const doing = "apply the gradients";
  const unknown = names.find((name) => !Object.hasOwn(variables, name));
  if (unknown !== undefined) {
    const reason = "tfjs must have a variable of each name";
    throw new RangeError(cannot(doing, reason, `it has none of name ${describe(unknown)}`));
  }
  const seen = new Set<string>();
  const repeated = names.find((name) => seen.size === seen.add(name).size);
  if (repeated !== undefined) {
    const reason = "a variable must have one gradient";
    throw new RangeError(cannot(doing, reason, `${describe(repeated)} has several`));
  }
}

/**
 * Checks the variables that an optimizer is made with.
 *
 * @throws {TypeError} If they are not variables of float32.
 */
export function readVariables(variables: unknown): TfVariable[] {
  if (typeof (variables as Iterable<unknown> | null)?.[Symbol.iterator] !== "function") {
    throw wrongType("use variables", "it must be iterable", variables);
  }
  return [...variables as Iterable<unknown>].map((variable) => {
    const { name, assign } = (variable ?? {}) as Partial<TfVariable>;
    if (typeof name !== "string" || typeof assign !== "function") {
      throw wrongType("use variables", "each must be a variable of tfjs", variable);
    }
    const tensor = variable as TfVariable;
    if (tensor.dtype !== "float32") throw dtypeError(tensor, `variable "${name}"`);
    return tensor;
  });
}

function dtypeError({ dtype }: TfTensor, what: string): TypeError {
  return wrongType(`use ${what}`, "it must be float32", dtype);
}

/** A variable with a parameter that has no values yet. */
export function createBound(variable: TfVariable): Bound {
  const { name, shape } = variable;
  const data = new Float32Array(sizeOf(variable));
  const parameter = { data, grad: null, name, shape: [...shape] };
  return { variable, dataId: null, parameter };
}
