/** The variables of an optimizer, and the parameters that stand for them. */

import { cannot, describe, refusal, wrongType } from "../core/validate.ts";
import type { Tf, TfGradients, TfTensor, TfVariable } from "./api.ts";
import { sizeOf } from "./memory.ts";
import type { Bound } from "./memory.ts";

/** A variable and its gradient, or null for "none this time". */
export type Pair = readonly [variable: TfVariable, gradient: TfTensor | null];

/**
 * Finds the variables of gradients.
 *
 * @throws {TypeError} If gradients are of another type, or one or its variable is not float32.
 * @throws {RangeError} If there is no variable of a name, a name is repeated, or shapes differ.
 * @throws {Error} If a gradient has been disposed.
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
    checkGradient(gradient, variable);
    return [[variable, gradient]];
  });
}

function checkGradient(gradient: TfTensor, variable: TfVariable): void {
  const what = () => `the gradient of "${variable.name}"`; // put together for an error only
  if (typeof gradient.dataSync !== "function") {
    throw wrongType(`use ${what()}`, "it must be a tensor of tfjs", gradient);
  }
  if (gradient.dtype !== "float32") throw dtypeError(gradient, what());
  if (gradient.isDisposed) throw disposedError(what());
  const [shape, needed] = [gradient.shape, variable.shape];
  if (shape.length === needed.length && shape.every((size, i) => size === needed[i])) return;
  const reason = `its shape must be [${needed.join(", ")}], like that of the variable`;
  throw new RangeError(refusal(`use ${what()}`, reason, `[${shape.join(", ")}]`, "shape"));
}

function disposedError(what: string): Error {
  return new Error(cannot(`use ${what}`, "it has been disposed"));
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
 * @throws {RangeError} If there is none.
 * @throws {Error} If one has been disposed.
 */
export function readVariables(variables: unknown): TfVariable[] {
  if (typeof (variables as Iterable<unknown> | null)?.[Symbol.iterator] !== "function") {
    throw wrongType("use variables", "it must be iterable", variables);
  }
  const all = [...variables as Iterable<unknown>];
  if (all.length === 0) {
    throw new RangeError(cannot("use variables", "there must be one at least", "there is none"));
  }
  return all.map((variable) => {
    const { name, assign } = (variable ?? {}) as Partial<TfVariable>;
    if (typeof name !== "string" || typeof assign !== "function") {
      throw wrongType("use variables", "each must be a variable of tfjs", variable);
    }
    const tensor = variable as TfVariable;
    if (tensor.dtype !== "float32") throw dtypeError(tensor, `variable "${name}"`);
    if (tensor.isDisposed) throw disposedError(`variable "${name}"`);
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
