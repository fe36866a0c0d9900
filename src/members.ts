/** Reads what an optimizer is given: parameters, or groups of them. */

import { createGroup } from "./group.ts";
import type { ParamGroup, ParamGroupOptions } from "./group.ts";
import { readNames } from "./names.ts";
import { checkInitialLr, checkKeys, resolve } from "./options.ts";
import type { GroupOptions } from "./options.ts";
import { checkParameter, describe } from "./parameter.ts";
import type { Parameter, Tensor } from "./parameter.ts";

/** The options of a group, and its parameters in a list of their own. */
export interface Members {
  readonly options: GroupOptions & Pick<ParamGroupOptions, "initialLr">;
  readonly params: unknown[];
}

/**
 * Reads a list of groups, or of parameters, which are one group then.
 *
 * @throws {TypeError} If it is not iterable, is empty, or holds both.
 */
export function readMembers(params: unknown): Members[] {
  const members = toArray(params, "params");
  if (members.every(isGroup)) return members.map(readGroup);
  if (members.some(isGroup)) {
    throw new TypeError("Cannot use params as it must hold parameters or groups, not both");
  }
  return [{ options: {}, params: members }];
}

/**
 * Reads a group.
 *
 * @throws {TypeError} If it is no object, has an unknown option, or its parameters are not iterable.
 */
export function readGroup(group: unknown): Members {
  if (typeof group !== "object" || group === null) {
    throw new TypeError(`Cannot add a group as it must be an object: it is ${describe(group)}`);
  }
  checkKeys(group, ["params", "initialLr"]);
  const options = group as ParamGroupOptions<Tensor>;
  return { options, params: toArray(options.params, "params of the group") };
}

function isGroup(member: unknown): boolean {
  return typeof member === "object" && member !== null && "params" in member;
}

/** A group that is to be added, with its parameters. */
export interface NewGroup {
  readonly group: ParamGroup<Tensor>;
  readonly params: readonly Parameter<Tensor>[];
  /** Their names, in order. */
  readonly names: readonly (string | undefined)[];
}

/**
 * Makes groups. Whether their parameters are there already is seen when they get into the plan.
 *
 * @param defaults The options that hold where a group has none of its own.
 * @param known The parameters of the optimizer, to which those of the groups will be added.
 * @param knownNames Their names.
 * @throws {TypeError} If something is of another type.
 * @throws {RangeError} If an option is out of range, or a name is not one's own.
 */
export function createGroups(
  members: readonly Members[],
  defaults: GroupOptions,
  known: () => readonly Parameter<Tensor>[],
  knownNames: readonly (string | undefined)[],
): NewGroup[] {
  const start = known().length;
  let end = start;
  const added = members.map(({ options, params }) => {
    const hyperparameters = resolve(options, defaults);
    const { initialLr } = options;
    if (initialLr !== undefined) checkInitialLr(initialLr);
    for (let i = 0; i < params.length; i++) checkParameter(params[i], end + i);
    const [first, last] = [end, end += params.length];
    const group = createGroup(() => known().slice(first, last), hyperparameters, initialLr);
    return { group, params: params as Parameter<Tensor>[] };
  });
  const names = readNames(added.flatMap(({ params }) => params), known(), knownNames);
  let next = 0;
  return added.map((each) => ({ ...each, names: names.slice(next, next += each.params.length) }));
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
