/** What a step does with an average of parameters, and how it finds it behind a `WeightAverage`. */

import type { Backend } from "../backends/backend.ts";
import type { Device } from "../core/dtype.ts";
import type { RowAverages } from "../plan/averages.ts";
import type { Plan } from "../plan/plan.ts";

/** The members of a `WeightAverage` that are for steps only. */
export interface StepAverage {
  /**
   * Checks everything that updating the averages relies on, after a refresh of the plan.
   *
   * @param backend What takes the step.
   * @param device What decides whether the step is skipped, if it is not the host.
   * @param isLate Whether the pass of the step updates no average.
   * @throws {TypeError} If a parameter is not what it was when the average was made.
   * @throws {Error} If the average is in use.
   */
  bind(plan: Plan, backend: Backend, device: Device | null, isLate: boolean): RowAverages;
  /**
   * Keeps everybody else off the averages from then on until the step has ended.
   *
   * @returns Lets go of them.
   */
  hold(): () => void;
}

const known = new WeakMap<object, StepAverage>();

/** Makes an average known to steps; only the average itself calls this. */
export function registerAverage(average: object, own: StepAverage): void {
  known.set(average, own);
}

/** What a step does with an average; undefined if the value is none. */
export function stepAverageOf(average: object): StepAverage | undefined {
  return known.get(average);
}
