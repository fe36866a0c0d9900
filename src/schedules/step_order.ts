/** Warns of a scheduler that steps before its optimizer, when torch does. */

import type { Groups } from "./groups.ts";

/** How often optimizers had stepped when their first scheduler was made. */
const stepsAtFirst = new WeakMap<object, number>();

const WARNING = "The scheduler stepped before its optimizer, which leaves out the first learning " +
  "rate of the schedule: call optimizer.step() before scheduler.step(). " +
  "new LRScheduler(optimizer, schedule, { warn: false }) turns this warning off.";

/** Sees whether the optimizer has stepped when its scheduler does so for the first time. */
export class StepOrder {
  readonly #groups: Groups;
  #isOpen: boolean;

  /** @param warn Whether it warns. */
  constructor(groups: Groups, warn: boolean) {
    this.#groups = groups;
    const { steps, optimizer } = groups;
    this.#isOpen = warn && steps !== null;
    if (steps !== null && !stepsAtFirst.has(optimizer)) stepsAtFirst.set(optimizer, steps);
  }

  /** Runs before each step of the scheduler. The first one shows the order. */
  check(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const { steps, optimizer } = this.#groups;
    if (steps === stepsAtFirst.get(optimizer)) console.warn(WARNING);
  }

  /** The scheduler has moved by other means than a step, and its next step is not the first one. */
  close(): void {
    this.#isOpen = false;
  }
}
