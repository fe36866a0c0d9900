/** Finds what `removeParamGroup` and `moveParameter` are about, and refuses what they cannot do. */

import type { Tensor } from "../core/dtype.ts";
import { label } from "../core/parameter.ts";
import type { Parameter } from "../core/parameter.ts";
import { cannot, describe, refusal, wrongType } from "../core/validate.ts";

/**
 * Checks that a group can be removed.
 *
 * @throws {TypeError} If the index is not a number.
 * @throws {RangeError} If there is no such group, or no other.
 */
export function checkRemoval(index: unknown, groups: readonly object[]): asserts index is number {
  checkIndex("remove a group", "index", index, groups.length);
  if (groups.length > 1) return;
  const more = `there is only this one. To empty the optimizer's memory, use resetState()`;
  throw new RangeError(cannot(`remove group ${index}`, "one group must stay", more));
}

/** A parameter that moves, and where. */
export interface Move {
  readonly row: number;
  /** The group that it moves to. */
  readonly group: number;
}

/**
 * Reads a move.
 *
 * @param parameter The parameter.
 * @param toGroup A group or its index.
 * @throws {TypeError} If `toGroup` is neither a number nor a group.
 * @throws {RangeError} If one of them is not of this optimizer.
 */
export function readMove(
  parameter: unknown,
  toGroup: unknown,
  parameters: readonly Parameter<Tensor>[],
  groups: readonly object[],
): Move {
  const row = parameters.indexOf(parameter as Parameter<Tensor>);
  if (row < 0) {
    const reason = "it must be one of the optimizer's";
    throw new RangeError(refusal("move the parameter", reason, describe(parameter)));
  }
  const doing = `move ${label(parameters[row], row)}`;
  if (typeof toGroup !== "object" || toGroup === null) {
    checkIndex(doing, "toGroup", toGroup, groups.length);
    return { row, group: toGroup };
  }
  const group = groups.indexOf(toGroup);
  if (group >= 0) return { row, group };
  throw new RangeError(cannot(doing, "toGroup must be one of the optimizer's paramGroups"));
}

function checkIndex(
  doing: string,
  what: string,
  index: unknown,
  count: number,
): asserts index is number {
  if (typeof index !== "number") throw wrongType(doing, `${what} must be a number`, index);
  if (Number.isInteger(index) && index >= 0 && index < count) return;
  const reason = `${what} must be that of a group, a whole number from 0 to ${count - 1}`;
  throw new RangeError(refusal(doing, reason, index));
}
