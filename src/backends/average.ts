/** Updates averages of parameters outside of the pass of a step. */

import { dtypeOf } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf, tagOf } from "../core/intrinsics.ts";
import type { AverageUpdate, RowAverages } from "../plan/averages.ts";
import {
  DATA,
  FORMAT_SPLIT,
  FORMAT_SPLIT24,
  LENGTH,
  MASTER,
  ROW,
  writeKind,
  writeWord,
} from "../plan/layout.ts";
import type { Correction } from "../plan/parameter_state.ts";
import type { Plan } from "../plan/plan.ts";
import type { Backend } from "./backend.ts";
import { updateInScript } from "./js/average.ts";
import type { AverageTerm } from "./js/average.ts";

export type { AverageTerm } from "./js/average.ts";

/** Updates some averages. Their arrays are fixed in memory, and of one length each. */
export function updateAverages(
  backend: Backend,
  terms: readonly AverageTerm[],
  update: AverageUpdate,
): void {
  if (terms.length === 0) return;
  if (backend.average === null) return updateInScript(terms, update);
  const rows = new BigUint64Array(terms.length * ROW);
  const halves = new Uint32Array(rows.buffer);
  const words = new BigUint64Array(terms.length);
  const wordHalves = new Uint32Array(words.buffer);
  terms.forEach(({ values, correction, average }, row) => {
    writeWord(halves, row * ROW + DATA, backend.address(values));
    writeWord(halves, row * ROW + LENGTH, lengthOf(values));
    writeKind(halves, row, dtypeOf(values, "the values").code + formatOf(correction), 0);
    if (correction !== null) {
      const address = backend.address(correction as unknown as HostArray);
      writeWord(halves, row * ROW + MASTER, address);
    }
    writeWord(wordHalves, row, backend.address(average));
  });
  backend.average({ rows, count: terms.length, words }, update);
}

function formatOf(correction: Correction | null): number {
  if (correction === null) return 0;
  return tagOf(correction) === "Int16Array" ? FORMAT_SPLIT : FORMAT_SPLIT24;
}

/**
 * Updates the averages of the rows of a plan that a step has left alone. Only backends that average in a
 * step leave some to this.
 */
export function updateResting(
  { average }: Backend,
  { rows, table: { count } }: Plan,
  { words, update }: RowAverages,
): void {
  average?.({ rows, count, words }, update);
}
