/** Parameter groups: parameters that share hyperparameters. */

import { settledInitialLr, settleInitialLr } from "./initial_lr.ts";
import { checkHyperparameter, HYPERPARAMETERS } from "./options.ts";
import type { GroupOptions, Hyperparameters } from "./options.ts";
import type { FloatArray, Parameter, SparseParameter, Tensor } from "./parameter.ts";

/** Parameters and the options that hold for them; the rest comes from the optimizer's options. */
export interface ParamGroupOptions<T extends Tensor = FloatArray> extends GroupOptions {
  /** The parameters of the group: at least one. */
  params: Iterable<Parameter<T> | SparseParameter>;
  /**
   * The learning rate that schedules start from, finite and >= 0, where it is not the `lr` that the
   * group has when the first `LRScheduler` is made.
   * @default {lr}
   */
  initialLr?: number;
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
  /**
   * The learning rate that schedules start from. It equals `lr`, and follows what is assigned to it,
   * until an `LRScheduler` is made on the optimizer; from then on it stays, unless a state is loaded.
   * A group that is added later starts from the `lr` that it is added with.
   */
  readonly initialLr: number;
}

/**
 * Makes a group whose hyperparameters are checked at every assignment.
 *
 * @param members Makes a list of its parameters, which is kept from when somebody asks for it.
 * @param initialLr The learning rate that schedules start from, if it is given.
 */
export function createGroup(
  members: () => Parameter<Tensor>[],
  values: Hyperparameters,
  initialLr?: number,
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
  // Not enumerable: spread, a group gives its hyperparameters, which other optimizers take as options.
  Object.defineProperty(group, "initialLr", {
    get: () => settledInitialLr(group) ?? current.lr,
  });
  if (initialLr !== undefined) settleInitialLr(group, initialLr);
  return Object.preventExtensions(group) as ParamGroup<Tensor>;
}
