/** An average of parameters in one step: which of it the pass of the step updates, and the rest. */

import { updateAverages, updateResting } from "../backends/average.ts";
import type { AverageTerm } from "../backends/average.ts";
import type { Backend } from "../backends/backend.ts";
import { isSixteenBit } from "../core/dtype.ts";
import type { FloatArray, HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { nameArray } from "../core/parameter.ts";
import { assertUnlocked, hasLocks } from "../memory/locks.ts";
import type { AverageUpdate, RowAverages } from "../plan/averages.ts";
import { SKIP, stateOf, writeWord } from "../plan/layout.ts";
import { masterAt, MasterFinder, rowsOf } from "../plan/masters.ts";
import type { Master } from "../plan/masters.ts";
import type { Plan } from "../plan/plan.ts";
import { checkData, datasOf, termOf } from "./averaged.ts";
import type { Averaged } from "./averaged.ts";

/** A parameter whose average is updated after the pass. */
interface Late {
  readonly averaged: Averaged;
  readonly index: number;
  /** Its row in the plan; undefined if the optimizer does not have it. */
  readonly row: number | undefined;
  readonly data: HostArray;
}

/** What one step does with an average. */
export class BoundAverage implements RowAverages {
  readonly words: BigUint64Array<ArrayBuffer>;
  readonly halves: Uint32Array<ArrayBuffer>;
  readonly resting: HostArray[] = [];
  count = 0;
  readonly #averages: FloatArray[] = [];
  readonly #late: Late[] = [];
  readonly #plan: Plan;
  readonly #backend: Backend;
  readonly #isLate: boolean;
  readonly #onFinish: () => void;

  /**
   * Checks everything, after a refresh of the plan.
   *
   * @param update How averages are updated.
   * @param isLate Whether all of them are updated after the pass.
   * @param onFinish Called when all of them have been.
   * @throws {TypeError} If a parameter is not what it was when the average was made.
   */
  constructor(
    plan: Plan,
    backend: Backend,
    list: readonly Averaged[],
    readonly update: AverageUpdate,
    isLate: boolean,
    onFinish: () => void,
  ) {
    this.#isLate = isLate || backend.name !== "cpu";
    this.#plan = plan;
    this.#backend = backend;
    this.#onFinish = onFinish;
    const { buffer, offset } = wordsFor(plan, backend);
    this.words = new BigUint64Array(buffer, offset);
    this.halves = new Uint32Array(buffer, offset);
    const rows = rowsOf(plan);
    const others = [...list.entries()].filter(([, { parameter }]) => !rows.has(parameter));
    const datas = datasOf(others);
    const masters = new MasterFinder();
    others.forEach(([index, averaged], i) => {
      masters.find(averaged.parameter, datas[i]); // a part of one is an error before the step
      this.#late.push({ averaged, index, row: undefined, data: datas[i] });
    });
    list.forEach((averaged, index) => {
      const row = rows.get(averaged.parameter);
      if (row !== undefined) this.#bindRow(row, averaged, index);
    });
  }

  #bindRow(row: number, averaged: Averaged, index: number): void {
    const { table, halves } = this.#plan;
    const data = table.datas[row] as HostArray;
    const { dtype, length } = averaged;
    const isSame = table.typesAt(row).dtype === dtype && table.lengthAt(row) === length;
    if (!isSame) checkData(averaged, data, index);
    const isResting = stateOf(halves, row) === SKIP;
    // The master of a row that rests may belong to other data, or be the user's.
    const isUnsure = isResting && table.masterWeights !== false && isSixteenBit(dtype);
    if (isUnsure) termOf(averaged, index, data, masterAt(this.#plan, row, data));
    if (isUnsure || this.#isLate) {
      this.#late.push({ averaged, index, row, data });
      return;
    }
    if (isResting) {
      if (hasLocks()) assertUnlocked(data, () => table.name(row, "data"));
      this.resting.push(data);
    }
    writeWord(this.halves, row, this.#backend.address(averaged.average));
    this.#averages[row] = averaged.average;
    this.count++;
  }

  of(row: number): FloatArray | null {
    return this.#averages[row] ?? null;
  }

  findDetached(): string | null {
    const late = this.#late.find(({ averaged, data }) => lengthOf(data) !== averaged.length);
    if (late !== undefined) return nameArray(late.averaged, late.index, "data");
    if (this.resting.length === 0) return null;
    const { table } = this.#plan;
    const row = this.#averages.findIndex((average, row) =>
      average !== undefined && lengthOf(table.datas[row]) !== lengthOf(average)
    );
    return row < 0 ? null : table.name(row, "data");
  }

  updateLate(): void {
    const masters = new MasterFinder();
    const terms = this.#late.splice(0).map((late): AverageTerm => {
      const { averaged, index, row, data } = late;
      checkData(averaged, data, index); // ranks exchange on another thread meanwhile
      const master = row === undefined
        ? masters.find(averaged.parameter, data)
        : this.#masterAt(row, data);
      return termOf(averaged, index, data, master);
    });
    updateAverages(this.#backend, terms, this.update);
  }

  /** What has been stepped in the place of the data, also if the step has made it. */
  #masterAt(row: number, data: HostArray): Master {
    const { table, halves } = this.#plan;
    return stateOf(halves, row) === SKIP
      ? masterAt(this.#plan, row, data)
      : { weight: table.masterAt(row), correction: table.correctionAt(row) };
  }

  finish(isWhole: boolean): void {
    if (!isWhole && this.resting.length > 0) updateResting(this.#backend, this.#plan, this);
    this.updateLate();
    this.#onFinish();
  }
}

/** Memory of zeros for the words of all rows: where calls on another thread need it, shared memory. */
function wordsFor(plan: Plan, backend: Backend): { buffer: ArrayBuffer; offset: number } {
  if (backend.name !== "cpu") return { buffer: new ArrayBuffer(8), offset: 0 };
  const { buffer, offset } = backend.allocate(8 * Math.max(1, plan.table.count));
  return { buffer: buffer as ArrayBuffer, offset };
}
