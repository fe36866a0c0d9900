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

/** A group that is to be added, with its parameters. */
export interface NewGroup {
  readonly group: ParamGroup<Tensor>;
  readonly params: readonly Parameter<Tensor>[];
}

/**
 * Makes groups. Whether their parameters are there already is seen when they get into the plan.
 *
 * @param defaults The options that hold where a group has none of its own.
 * @param known The parameters of the optimizer, to which those of the groups will be added.
 * @throws {TypeError} If something is of another type.
 * @throws {RangeError} If an option is out of range.
 */
export function createGroups(
  groups: readonly ParamGroupOptions<Tensor>[],
  defaults: GroupOptions,
  known: () => readonly Parameter<Tensor>[],
): NewGroup[] {
  let end = known().length;
  return groups.map((options) => {
    if (typeof options !== "object" || options === null) {
      throw new TypeError(`Cannot add a group as it must be an object: it is ${describe(options)}`);
    }
    checkKeys(options, ["params"]);
    const hyperparameters = resolve(options, defaults);
    const params = toArray(options.params, "params of the group");
    for (let i = 0; i < params.length; i++) checkParameter(params[i], end + i);
    const [first, last] = [end, end += params.length];
    const group = createGroup(() => known().slice(first, last), hyperparameters);
    return { group, params: params as Parameter<Tensor>[] };
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
