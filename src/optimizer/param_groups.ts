/** Parameter groups: reads them as they are given, and checks every assignment to them. */

import { checkParameter } from "../core/check_parameter.ts";
import type { DeviceTensor, Tensor } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import {
  checkGroupKeys,
  checkHyperparameter,
  checkInitialLr,
  checkRecordable,
  HYPERPARAMETERS,
  resolve,
} from "../core/hyperparameters.ts";
import type { GroupOptions, Hyperparameters, ParamGroup } from "../core/hyperparameters.ts";
import { checkMomentumBits, ROUNDING_KEYS } from "../core/rounding.ts";
import type { Rounding } from "../core/rounding.ts";
import { settleInitialLr, shownInitialLr } from "../core/initial_lr.ts";
import type { Parameter, SparseGrad, SparseParameter } from "../core/parameter.ts";
import { printContents } from "../core/printing.ts";
import { cannot, describe, refusal, wrongType } from "../core/validate.ts";
import { readNames } from "../state/names.ts";
import { Members, setMembers } from "./members.ts";
import { summarizeGroup } from "./summary.ts";

/**
 * Parameters and the options that hold for them; the rest comes from the optimizer's options.
 *
 * @category Optimizer
 */
export interface ParamGroupOptions<T extends Tensor = FloatArray> extends GroupOptions {
  /** The parameters of the group: at least one. */
  params: ListedParameter<T>[] | Iterable<Parameter<T> | SparseParameter>;
  /**
   * The learning rate that schedules start from, finite and >= 0, where it is not the `lr` that the
   * group has when the first `LRScheduler` is made.
   * @default {lr}
   */
  initialLr?: number;
}

/** The hyperparameters of a group, and the bits of an element of momentum, which stay. */
export type GroupValues = Hyperparameters & { readonly momentumBits: 8 | 32 };

/**
 * A group with a learning rate of its own: where all groups have one, an optimizer needs no options.
 *
 * @category Optimizer
 */
export interface ParamGroupWithLr<T extends Tensor = FloatArray> extends ParamGroupOptions<T> {
  /** Learning rate, finite and >= 0. */
  lr: number;
}

/**
 * A parameter in a list of parameters, dense or sparse.
 *
 * The compiler compares each item of a list in brackets with this one type, and can say what is wrong
 * with it. The members of a group are here for the same reason: it finds a mistake in a group where it
 * is. No parameter has them.
 *
 * @category Parameters
 */
export interface ListedParameter<T extends Tensor = FloatArray>
  extends Omit<Parameter<T>, "data" | "grad">, Partial<ParamGroupOptions<T>> {
  /** The values. */
  data: T;
  /**
   * The gradient, or null for "none this time". That of a tensor on a device may be in a buffer of another
   * class.
   */
  grad:
    | Parameter<T>["grad"]
    | SparseGrad
    | (T extends DeviceTensor & { readonly dtype: infer D } ? DeviceTensor & { readonly dtype: D }
      : never);
}

/**
 * Makes a group whose hyperparameters are checked at every assignment.
 *
 * @param members Its parameters.
 * @param current Its values, which assignments write to, and steps read: the many accessors of the group
 * would take as long as a step of small tensors.
 * @param initialLr The learning rate that schedules start from, if it is given.
 */
export function createGroup(
  members: Members,
  current: GroupValues,
  initialLr?: number,
): ParamGroup<Tensor> {
  const { momentumBits } = current;
  const group = Object.defineProperty({} as ParamGroup<Tensor>, "params", {
    enumerable: true,
    get: () => members.list,
  });
  setMembers(group, members);
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
  Object.defineProperty(group, "momentumBits", {
    enumerable: true,
    get: () => momentumBits,
    set(value: unknown) {
      const reason = `it stays ${momentumBits} once the group is made`;
      throw new TypeError(refusal("set momentumBits", reason, describe(value)));
    },
  });
  // It is not enumerable, so that a spread group is a set of options that other optimizers accept.
  Object.defineProperty(group, "initialLr", {
    get: () => shownInitialLr(group) ?? current.lr,
  });
  if (initialLr !== undefined) settleInitialLr(group, initialLr);
  Object.defineProperty(group, "toJSON", { value: () => summarizeGroup(group) });
  printContents(group, "ParamGroup", summarizeGroup);
  return Object.preventExtensions(group);
}

/** The options of a group, and the list of its parameters. */
export interface GroupMembers {
  readonly options: GroupOptions & Pick<ParamGroupOptions, "initialLr">;
  readonly params: unknown[];
}

/**
 * Reads a list of groups, or of parameters, which are one group then.
 *
 * @throws {TypeError} If it is not iterable, is empty, or holds both.
 */
export function readMembers(params: unknown): GroupMembers[] {
  const members = toArray(params, "params");
  if (members.every(isGroup)) return members.map(readGroupMembers);
  if (members.some(isGroup)) {
    throw new TypeError(cannot("use params", "it must hold parameters or groups, not both"));
  }
  return [{ options: {}, params: members }];
}

/** The options that all groups of an optimizer share. */
export const SHARED: readonly string[] = [
  ...["backend", "recordSteps", "world", "exchange"],
  ...ROUNDING_KEYS,
];

/**
 * Reads a group.
 *
 * @throws {TypeError} If it is not an object, has an unknown option, or its parameters are not iterable.
 */
export function readGroupMembers(group: unknown): GroupMembers {
  if (typeof group !== "object" || group === null) {
    throw wrongType("add a group", "it must be an object", group);
  }
  const misplaced = Object.keys(group).find((key) => SHARED.includes(key));
  if (misplaced !== undefined) {
    const reason = "it is an option of the optimizer, not of a group";
    throw new TypeError(cannot(`read option "${misplaced}"`, reason));
  }
  checkGroupKeys(group, ["params", "initialLr"]);
  const options = group as ParamGroupOptions<Tensor>;
  return { options, params: toArray(options.params, "params of the group") };
}

function isGroup(member: unknown): boolean {
  return typeof member === "object" && member !== null && "params" in member;
}

/** A group that is to be added, with its parameters. */
export interface NewGroup {
  readonly group: ParamGroup<Tensor>;
  /** What a step reads of it. */
  readonly values: GroupValues;
  readonly params: readonly Parameter<Tensor>[];
  /** Their names, in order. */
  readonly names: readonly (string | undefined)[];
}

/**
 * Makes groups. The plan refuses parameters that it has already when they are added to it.
 *
 * @param defaults The options that hold where a group does not set them.
 * @param known The parameters of the optimizer, to which those of the groups will be added.
 * @param knownNames Their names.
 * @param rounding That of the optimizer.
 * @throws {TypeError} If something is of another type.
 * @throws {RangeError} If an option is out of range, or a name is not unique.
 */
export function createGroups(
  members: readonly GroupMembers[],
  defaults: GroupOptions,
  known: () => readonly Parameter<Tensor>[],
  knownNames: readonly (string | undefined)[],
  rounding: Rounding,
): NewGroup[] {
  const start = known().length;
  let end = start;
  const added = members.map(({ options, params }, i) => {
    const where = `neither group ${i} of the list nor the options have one`;
    const hyperparameters = resolve(options, defaults, members.length > 1 ? where : undefined);
    const { momentumBits = defaults.momentumBits ?? 32 } = options;
    checkMomentumBits(momentumBits, rounding);
    checkRecordable({ ...hyperparameters, momentumBits });
    const { initialLr } = options;
    if (initialLr !== undefined) checkInitialLr(initialLr);
    for (let k = 0; k < params.length; k++) checkParameter(params[k], end + k);
    const [first, last] = [end, end += params.length];
    const list = new Members(known, first, last);
    const values = { ...hyperparameters, momentumBits };
    const group = createGroup(list, values, initialLr);
    return { group, values, params: params as Parameter<Tensor>[] };
  });
  const names = readNames(added.flatMap(({ params }) => params), known(), knownNames);
  let next = 0;
  return added.map((each) => ({ ...each, names: names.slice(next, next += each.params.length) }));
}

function toArray(value: unknown, what: string): unknown[] {
  const iterable = value as Iterable<unknown> | null | undefined;
  if (typeof iterable !== "object" || typeof iterable?.[Symbol.iterator] !== "function") {
    throw wrongType(`use ${what}`, "it must be iterable", value);
  }
  const array = [...iterable];
  if (array.length === 0) {
    throw new TypeError(
      cannot(`use ${what}`, "it must hold at least one parameter", "it is empty"),
    );
  }
  return array;
}
