/** The group table: the hyperparameters that the rows of each group are stepped with. */

import { checkCombination, checkRecordable } from "../core/hyperparameters.ts";
import type { Hyperparameters } from "../core/hyperparameters.ts";
import { isModest } from "../core/overflow.ts";
import { isRandom } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import type { RuleOptions } from "../core/rule.ts";
import { COEFFICIENT, GROUP_ROW, MOMENTUM, writeGroup } from "./layout.ts";

/** The hyperparameters of a group, as the user has assigned them. */
export type Group = RuleOptions & Pick<Hyperparameters, "foreach" | "differentiable"> & {
  /** The bits of an element of momentum. @default {32} */
  readonly momentumBits?: 8 | 32;
};

/** Whether steps of these groups draw random bits. */
export function drawsRandom(precision: Precision, groups: readonly Group[]): boolean {
  return isRandom(precision) || groups.some(({ momentumBits }) => momentumBits === 8);
}

/** The hyperparameters of all groups, as the current step uses them. */
export class GroupTable {
  /** `GROUP_ROW` words per group. */
  rows: Float64Array<ArrayBuffer> = new Float64Array(0);
  /** Whether every dtype can hold the hyperparameters of all groups. */
  isModest = true;

  /**
   * Reads the groups.
   *
   * @throws {RangeError} If the options of one do not fit together.
   */
  refresh(groups: readonly Group[]): void {
    const words = groups.length * GROUP_ROW;
    if (this.rows.length !== words) this.rows = new Float64Array(words);
    const { rows } = this;
    this.isModest = true;
    for (let i = 0, at = 0; i < groups.length; i++, at += GROUP_ROW) {
      checkCombination(groups[i]);
      checkRecordable(groups[i]);
      writeGroup(rows, at, groups[i]);
      if (!isModest(rows, at)) this.isModest = false;
    }
  }

  /** Whether the rows of a group have momentum buffers. */
  isBuffered(group: number): boolean {
    return this.rows[group * GROUP_ROW + MOMENTUM] !== 0;
  }

  /** Writes what the gradients of each group are multiplied by to clip their norm. */
  writeCoefficients(coefficients: readonly number[]): void {
    for (const [group, coefficient] of coefficients.entries()) {
      this.rows[group * GROUP_ROW + COEFFICIENT] = coefficient;
    }
  }
}
