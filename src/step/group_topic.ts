/** The hyperparameters of groups, as the ranks of a world compare them. */

import type { Fact, Topic } from "../core/exchange.ts";
import type { Group } from "../plan/group_table.ts";
import { COEFFICIENT, GROUP_ROW, readGroup, writeGroup } from "../plan/layout.ts";

/**
 * Rows as in the group table, which have the bits of an element of momentum where that has what clips the
 * norm.
 *
 * @param values The hyperparameters: of the groups, or as a step has them in its table.
 * @param groups The groups, whose momentum has so many bits.
 */
export function settingsOf(
  values: Float64Array | readonly Group[],
  groups: readonly Group[],
): Float64Array {
  const rows = values instanceof Float64Array
    ? values.slice()
    : new Float64Array(GROUP_ROW * groups.length);
  for (let group = 0, at = 0; group < groups.length; group++, at += GROUP_ROW) {
    if (!(values instanceof Float64Array)) writeGroup(rows, at, values[group]);
    rows[at + COEFFICIENT] = groups[group].momentumBits ?? 32;
  }
  return rows;
}

/** The hyperparameters of all groups. */
export function groupTopic(settings: Float64Array): Topic {
  return {
    numbers: settings,
    stride: GROUP_ROW,
    facts: (group) =>
      [
        ...Object.entries(readGroup(settings, group)),
        ["momentumBits", settings[group * GROUP_ROW + COEFFICIENT]],
      ].map(([name, value]): Fact => ({
        of: "hyperparameters",
        what: `${name} of group ${group}`,
        text: `is ${value}`,
      })),
  };
}
