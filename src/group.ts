/** Parameter groups: parameters that share hyperparameters. */

import { checkHyperparameter, HYPERPARAMETERS } from "./options.ts";
import type { GroupOptions, Hyperparameters } from "./options.ts";
import type { FloatArray, Parameter, SparseParameter, Tensor } from "./parameter.ts";

/** Parameters and the options that hold for them; the rest comes from the optimizer's options. */
export interface ParamGroupOptions<T extends Tensor = FloatArray> extends GroupOptions {
  /** The parameters of the group: at least one. */
  params: Iterable<Parameter<T> | SparseParameter>;
}

/**
 * A parameter group of an optimizer.
 *
 * The hyperparameters can be assigned between steps and take effect at the next one. A value of
 * the wrong type or range throws where it is assigned; a combination that does not fit (nesterov
 * without momentum) throws at the next step, before anything is written, and so does a value that the
 * type of a parameter cannot hold.
 */
export interface ParamGroup<T extends Tensor = FloatArray> extends Hyperparameters {
  /** The parameters, in the order in which they were given. */
  readonly params: readonly Parameter<T>[];
}

/**
 * Makes a group whose hyperparameters are checked at every assignment.
 *
 * @param members Makes a list of its parameters, which is kept from when somebody asks for it.
 */
export function createGroup(
  members: () => Parameter<Tensor>[],
  values: Hyperparameters,
): ParamGroup<Tensor> {
  const current = { ...values };
  let params: readonly Parameter<Tensor>[] | undefined;
  const group = Object.defineProperty({}, "params", {
    enumerable: true,
    get: () => params ??= Object.freeze(members()),
  });
  for (const name of HYPERPARAMETERS) {
    Object.defineProperty(group, name, {
      enumerable: true,
      get: () => current[name],
      set(value: unknown) {
        checkHyperparameter(name, value);
        Object.assign(current, { [name]: value });
      },
    });
  }
  return Object.preventExtensions(group) as ParamGroup<Tensor>;
}
