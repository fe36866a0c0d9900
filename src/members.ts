/** Reads what an optimizer is given: parameters, or groups of them. */

import { createGroup } from "./group.ts";
import type { ParamGroup, ParamGroupOptions } from "./group.ts";
import { checkKeys, resolve } from "./options.ts";
import type { GroupOptions } from "./options.ts";
import { checkParameter, describe } from "./parameter.ts";
import type { Parameter, Tensor } from "./parameter.ts";

/**
 * The groups that a list of groups, or of parameters, stands for.
 *
 * @throws {TypeError} If it is not iterable, is empty, or holds both.
 */
export function toGroups(params: unknown): ParamGroupOptions<Tensor>[] {
  const members = toArray(params, "params");
  if (members.every(isGroup)) return members as ParamGroupOptions<Tensor>[];
  if (members.some(isGroup)) {
    throw new TypeError("Cannot use params as it must hold parameters or groups, not both");
  }
  return [{ params: members as Parameter<Tensor>[] }];
}

function isGroup(member: unknown): boolean {
  return typeof member === "object" && member !== null && "params" in member;
}

/**
 * Makes groups. Whether their parameters are there already is seen when they get into the plan.
 *
 * @param defaults The options that hold where a group has none of its own.
 * @param count How many parameters the optimizer has already.
 * @throws {TypeError} If something is of another type.
 * @throws {RangeError} If an option is out of range.
 */
export function createGroups(
  groups: readonly ParamGroupOptions<Tensor>[],
  defaults: GroupOptions,
  count: number,
): ParamGroup<Tensor>[] {
  return groups.map((group) => {
    if (typeof group !== "object" || group === null) {
      throw new TypeError(`Cannot add a group as it must be an object: it is ${describe(group)}`);
    }
    checkKeys(group, ["params"]);
    const hyperparameters = resolve(group, defaults);
    const params = toArray(group.params, "params of the group");
    for (let i = 0; i < params.length; i++) checkParameter(params[i], count++);
    return createGroup(params as Parameter<Tensor>[], hyperparameters);
  });
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
