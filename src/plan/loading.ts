/** Gives the rows of a table copies of what a state dict has of their parameters. */

import { copyMasters, copyMomentum } from "./copies.ts";
import type { Saved } from "./copies.ts";
import { BEGAN_DENSE, BEGAN_SPARSE } from "./marks.ts";
import type { Plan } from "./plan.ts";
import { readBeginning } from "./rows_in_use.ts";

/**
 * Copies what a state dict has of parameters whose data are in the table.
 *
 * @returns Gives the rows the copies for what they have.
 */
export function prepareCopies(
  { table, stateArrays: arrays }: Pick<Plan, "table" | "stateArrays">,
  saved: readonly Saved[],
): () => void {
  const { memory } = arrays;
  const began = saved.flatMap(readBeginning);
  const buffers = copyMomentum(table, memory, saved);
  const masters = copyMasters(table, memory, saved);
  const hold = () => {
    for (const { row, held, address } of buffers) table.holdBuffer(row, held, address);
    for (const { row, held, address } of masters) arrays.holdMaster(row, held, address);
    for (const { row, used } of began) {
      table.mark(row, used === null ? BEGAN_DENSE : BEGAN_SPARSE);
      if (used !== null) table.rowsInUse.set(row, used);
    }
  };
  return () => arrays.replace(saved.map(({ row }) => row), hold);
}
