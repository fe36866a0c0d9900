/** Where the values of variables are while Descent steps them. */

import type { Tensor } from "../core/dtype.ts";
import type { Parameter } from "../core/parameter.ts";
import type { TfTensor, TfVariable } from "./api.ts";

/** A variable and the parameter that stands for it. */
export interface Bound {
  /** The variable: the one that has the name, which another model can take over. */
  variable: TfVariable;
  /** The parameter; its data are those of the variable once `open` has been called. */
  readonly parameter: Parameter<Tensor>;
  /** The memory of the variable that the data stand for; null before the first `open`. */
  dataId: object | null;
}

/** Takes values out of variables and gradients, and puts them back into variables. */
export interface Memory {
  /** Whether the memory is that of the backend which tfjs uses. */
  fits(backend: string): boolean;
  /** Makes the data of parameters those of their variables, as they are. */
  open(bounds: readonly Bound[]): void;
  /** Makes gradients those of the parameters, for one step. */
  readGradients(gradients: ReadonlyMap<Bound, TfTensor>): void;
  /** Makes the stepped data those of the variables. */
  publish(stepped: readonly Bound[]): void;
  /** Lets go of what a step has made, whether it succeeded or not. */
  finish(): void;
  /** Leaves all variables to tfjs. */
  release(bounds: readonly Bound[]): void;
}

/** The number of elements of a tensor. */
export function sizeOf({ shape }: TfTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The values of a tensor, which tfjs may have as numbers in a plain array. */
export function valuesOf(tensor: TfTensor): Float32Array {
  const values = tensor.dataSync();
  return values instanceof Float32Array ? values : Float32Array.from(values as number[]);
}

/** Gives a variable a memory of its own. */
export function replace(variable: TfVariable, value: TfTensor): void {
  variable.assign(value);
  value.dispose();
}
