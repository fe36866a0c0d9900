/** Averages of parameters, as a step knows them: what its pass updates, and how. */

import type { FloatArray, HostArray } from "../core/host_array.ts";

/** What an update makes of an average and a value. `docs/numerics.md` has the arithmetic. */
export interface AverageUpdate {
  /** The weight of the value, if there is no divisor. */
  readonly weight: number;
  /** How many values the average is then the mean of: 1 copies the value. 0 for no divisor. */
  readonly divisor: number;
}

/** An update that copies values. */
export const COPY: AverageUpdate = { weight: 0, divisor: 1 };

/** Averages that one step updates. */
export interface RowAverages {
  readonly update: AverageUpdate;
  /** How many rows have an average that the pass of the step updates. */
  readonly count: number;
  /** A word for each row, the address of its average or 0; and the same in halves. */
  readonly words: BigUint64Array<ArrayBuffer>;
  readonly halves: Uint32Array<ArrayBuffer>;
  /** The average of a row that the pass of the step updates; null if there is none. */
  of(row: number): FloatArray | null;
  /** The parameters that are averaged though the step leaves them alone. */
  readonly resting: readonly HostArray[];
  /** The name of an array that has been detached since it was checked; null if there is none. */
  findDetached(): string | null;
  /**
   * Updates the averages that the pass of the step does not, once: those of parameters that the step does
   * not write, and on a backend whose pass updates none, of all when it has been taken.
   */
  updateLate(): void;
  /**
   * The step has been taken: updates what its pass has not.
   *
   * @param isWhole Whether the pass has updated the averages of resting rows, too.
   */
  finish(isWhole: boolean): void;
}
