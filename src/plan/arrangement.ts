/** Takes rows and groups out of a plan, moves rows to other groups, and lets go of their state. */

import { FEWEST_ELEMENTS } from "../core/momentum8.ts";
import { label } from "../core/parameter.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot } from "../core/validate.ts";
import { checkFormats } from "./formats.ts";
import { drawsRandom } from "./group_table.ts";
import type { Group } from "./group_table.ts";
import { NOTHING_ADDED, writeGroupOf } from "./layout.ts";
import { assignRest } from "./parameter_state.ts";
import type { Plan } from "./plan.ts";
import { UNBOUND } from "./tensor_table.ts";

/** Rows and groups in their new order, by the places that they had. */
export interface Arrangement {
  /** For each row, the row that it was. */
  readonly rows: readonly number[];
  /** For each group, the group that it was. */
  readonly groups: readonly number[];
  /** The row after the last one of each group. */
  readonly ends: readonly number[];
}

/** What stays without one of the groups. */
export function withoutGroup({ ends }: Pick<Plan, "ends">, group: number): Arrangement {
  const members = membersOf(ends);
  const groups = members.map((_, i) => i).filter((i) => i !== group);
  return arrangementOf(groups, groups.map((i) => members[i]));
}

/** Everything, with one row as the last one of another group. */
export function withMoved({ ends }: Pick<Plan, "ends">, row: number, group: number): Arrangement {
  const members = membersOf(ends).map((rows) => rows.filter((each) => each !== row));
  members[group].push(row);
  return arrangementOf(members.map((_, i) => i), members);
}

/** The rows of each group. */
function membersOf(ends: readonly number[]): number[][] {
  return ends.map((end, i) => {
    const first = ends[i - 1] ?? 0;
    return Array.from({ length: end - first }, (_, k) => first + k);
  });
}

function arrangementOf(groups: readonly number[], members: readonly number[][]): Arrangement {
  let end = 0;
  return { rows: members.flat(), groups, ends: members.map(({ length }) => end += length) };
}

/** Brings a plan into an arrangement. What is remembered of a row goes with it. */
export function arrange(
  plan: Plan,
  { rows, groups, ends }: Arrangement,
  precision: Precision,
): void {
  dropStep(plan);
  const { parameters, groups: before, table, stateArrays } = plan;
  const bits = rows.map((row) => bitsOf(before[table.groupAt(row)]));
  plan.parameters = rows.map((row) => parameters[row]);
  plan.groups = groups.map((group) => before[group]);
  plan.ends = ends;
  table.arrange(rows);
  stateArrays.arrange(rows);
  for (const [group, end] of ends.entries()) {
    for (let row = ends[group - 1] ?? 0; row < end; row++) {
      writeGroupOf(table.halves, row, group);
      if (bitsOf(plan.groups[group]) === bits[row]) continue;
      table.datas[row] = UNBOUND; // the next step writes its formats anew
      table.skip(row);
    }
  }
  plan.isRandom = drawsRandom(precision, plan.groups);
}

/**
 * Checks that a row can be stepped in another group.
 *
 * @throws {TypeError} If momentum has 8 bits in that group, and the row cannot have such momentum.
 * @throws {RangeError} If the row has momentum, which would have other bits there.
 */
export function checkMove(plan: Plan, row: number, group: number, precision: Precision): void {
  const { table, stateArrays, groups } = plan;
  const [own, bits] = [bitsOf(groups[table.groupAt(row)]), bitsOf(groups[group])];
  if (own === bits) return;
  dropStep(plan);
  checkFormats(table.typesAt(row).dtype, bits, precision, () => table.name(row, "data"));
  const hasNone = stateArrays.bufferAt(row) === null && stateArrays.momentum8At(row) === null;
  if (hasNone || table.lengthAt(row) < FEWEST_ELEMENTS) return;
  throw new RangeError(
    cannot(
      `move ${label(table.parameterAt(row), row)}`,
      "its momentum must have as many bits as that of the other group",
      `it has ${own}, and in group ${group} it has ${bits}. resetState() lets go of all momentum; ` +
        "to keep it, make an optimizer with these groups and load the state with convert: true",
    ),
  );
}

/** Lets go of the state of all rows, and begins to count steps that draw random bits again. */
export function resetPlan(plan: Plan, { random }: Precision): void {
  dropStep(plan);
  const { stateArrays, table } = plan;
  for (let row = 0; row < table.count; row++) table.clearState(row);
  for (const state of stateArrays.areShown ? stateArrays.materializeAll() : []) {
    Object.assign(state, { momentumBuffer: null, masterWeight: null });
    assignRest(state, { momentum8: null, correction: null });
  }
  random.counter = 0;
}

/** Drops what is left of a step that was not taken. */
function dropStep(plan: Plan): void {
  plan.stateArrays.discard();
  plan.addends = NOTHING_ADDED;
  plan.sparse.steps.length = 0;
}

function bitsOf({ momentumBits = 32 }: Group): 8 | 32 {
  return momentumBits;
}
