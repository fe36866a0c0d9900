/** Reads what an optimizer is given: parameters, or groups of them. */

import { createGroup } from "./group.ts";
import type { ParamGroup, ParamGroupOptions } from "./group.ts";
import { checkKeys, resolve } from "./options.ts";
import type { GroupOptions } from "./options.ts";
import { checkParameter, describe, label } from "./parameter.ts";
import type { Parameter, Tensor } from "./parameter.ts";

/**
 * The groups that a list of groups, or of parameters, stands for.
 *
 * @throws {TypeError} If it is not iterable, is empty, or holds both.
 */
export function toGroups(params: unknown): ParamGroupOptions<Tensor>[] {
  const members = toArray(params, "params");
  const areGroups = members.map((member) =>
    typeof member === "object" && member !== null && "params" in member
  );
  if (areGroups.every((isGroup) => isGroup)) return members as ParamGroupOptions<Tensor>[];
  if (areGroups.some((isGroup) => isGroup)) {
    throw new TypeError("Cannot use params as it must hold parameters or groups, not both");
  }
  return [{ params: members as Parameter<Tensor>[] }];
}

/**
 * Makes groups whose parameters the optimizer does not have yet.
 *
 * @param defaults The options that hold where a group has none of its own.
 * @param known The parameters that the optimizer has; those of the groups are added.
 * @throws {TypeError} If something is of another type.
 * @throws {RangeError} If an option is out of range, or a parameter is there already.
 */
export function createGroups(
  groups: readonly ParamGroupOptions<Tensor>[],
  defaults: GroupOptions,
  known: Set<Parameter<Tensor>>,
): ParamGroup<Tensor>[] {
  return groups.map((group) => {
    if (typeof group !== "object" || group === null) {
      throw new TypeError(`Cannot add a group as it must be an object: it is ${describe(group)}`);
    }
    checkKeys(group, ["params"]);
    const hyperparameters = resolve(group, defaults);
    const params = toArray(group.params, "params of the group");
    params.forEach((parameter) => addNew(known, parameter));
    return createGroup(params as Parameter<Tensor>[], hyperparameters);
  });
}

function addNew(known: Set<Parameter<Tensor>>, parameter: unknown): void {
  const index = known.size;
  checkParameter(parameter, index);
  if (known.has(parameter)) {
    throw new RangeError(
      `Cannot add ${label(parameter, index)} as it must be in one group only, once`,
    );
  }
  known.add(parameter);
}

function toArray(value: unknown, what: string): unknown[] {
  const iterable = value as Iterable<unknown> | null | undefined;
  if (typeof iterable !== "object" || typeof iterable?.[Symbol.iterator] !== "function") {
    throw new TypeError(
      `Cannot use ${what} as it must be iterable: current value is ${describe(value)}`,
    );
  }
  const array = [...iterable];
  if (array.length === 0) {
    throw new TypeError(`Cannot use ${what} as it must hold at least one parameter: it is empty`);
  }
  return array;
}
