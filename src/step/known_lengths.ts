/** The lengths of parameters of which each rank has a part of the state. */

import { refusal } from "../core/validate.ts";
import { BUFFER, MASTER, readWord, ROW } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";

/**
 * Remembers the lengths of parameters from step to step. Which part of them a rank has follows from all
 * lengths: with others it would have parts whose state another rank has.
 */
export class KnownLengths {
  #known: readonly number[] | null = null;

  /** Lets the next step have other lengths, as all ranks have the whole state. */
  forget(): void {
    this.#known = null;
  }

  /** Remembers the present lengths. */
  remember({ table }: Plan): void {
    this.#known = Array.from({ length: table.count }, (_, row) => table.lengthAt(row));
  }

  /**
   * Refuses a parameter of another length than at the last step.
   *
   * @throws {RangeError} If there is one, and state that could be lost.
   */
  check(plan: Plan): void {
    const { table } = plan;
    const known = this.#known;
    const row = known?.findIndex((length, row) => table.lengthAt(row) !== length) ?? -1;
    if (row >= 0 && hasState(plan)) {
      const needed = `with exchange "shards" its length must stay ${known![row]}`;
      const doing = `use ${table.name(row, "data")}`;
      throw new RangeError(refusal(doing, needed, table.lengthAt(row), "length"));
    }
    if (row < 0 && known !== null) return;
    this.remember(plan);
  }
}

/** Whether there is momentum or a master weight. */
function hasState({ halves, table }: Plan): boolean {
  for (let row = 0; row < table.count; row++) {
    if ([BUFFER, MASTER].some((word) => readWord(halves, row * ROW + word) !== 0)) return true;
  }
  return false;
}
