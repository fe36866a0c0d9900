/** Parameters that are good, and what can be wrong with arrays. */

import type { FloatArray, Parameter } from "@descent/sgd";

/** What is done, what it is, and the type and a part of the error. */
export type Fault = [what: string, make: () => unknown, kind: ErrorConstructor, message: string];

export const array = (...values: number[]) => new Float32Array(values);
export const good = (name = "w"): Parameter => ({ data: array(1, 2), grad: array(3, 4), name });

/** An array whose buffer has gone elsewhere. */
export function detach<T extends FloatArray>(view: T): T {
  structuredClone(view, { transfer: [view.buffer as ArrayBuffer] });
  return view;
}
