/** Replaces gradients of parameters: all of them or none. */

import type { Tensor } from "../core/dtype.ts";
import type { Parameter, SparseParameter } from "../core/parameter.ts";
import { cannot } from "../core/validate.ts";

/** A gradient that is to be replaced. */
export interface Replacement {
  readonly parameter: Parameter<Tensor> | SparseParameter;
  readonly before: unknown;
  readonly after: unknown;
  /** What error messages call the gradient. */
  readonly name: string;
}

/**
 * Assigns new gradients. If one cannot be assigned, none is.
 *
 * @returns Assigns those that were there before.
 * @throws {TypeError} If a parameter is frozen, or its gradient has a getter only.
 */
export function replaceGrads(replacements: readonly Replacement[]): () => void {
  for (const { parameter, name } of replacements) {
    if (isAssignable(parameter, "grad")) continue;
    throw new TypeError(
      cannot(`zero ${name}`, "it must be writable", "its parameter is read-only"),
    );
  }
  const done: Replacement[] = [];
  const undo = () => {
    for (const { parameter, before } of done) restore(parameter, before);
  };
  try {
    for (const replacement of replacements) {
      done.push(replacement);
      Object.assign(replacement.parameter, { grad: replacement.after });
    }
  } catch (error) {
    undo();
    throw error;
  }
  return undo;
}

function restore(parameter: object, grad: unknown): void {
  try {
    Reflect.set(parameter, "grad", grad);
  } catch {
    // Setters may throw again while they are undone; the first error is the one to report.
  }
}

/** Whether a property can be assigned, as far as that can be known without doing it. */
function isAssignable(target: object, key: string): boolean {
  for (
    let holder: object | null = target;
    holder !== null;
    holder = Object.getPrototypeOf(holder)
  ) {
    const property = Object.getOwnPropertyDescriptor(holder, key);
    if (property === undefined) continue;
    if (property.get !== undefined || property.set !== undefined) return property.set !== undefined;
    return property.writable === true && (holder === target || Object.isExtensible(target));
  }
  return Object.isExtensible(target);
}
