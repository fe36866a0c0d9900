/** The schedule that multiplies by an own function. */

import { checkOptions } from "../core/validate.ts";
import { checkFunction, checkResult, fromRecurrence } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

/**
 * The options of `multiplicativeLR`.
 *
 * @category Schedules
 */
export interface MultiplicativeLROptions {
  /** What the learning rate is multiplied by at a step, 1 or later; >= 0. */
  lrLambda: (step: number) => number;
}

/**
 * Multiplies the learning rate by the factor that a function gives for each step: torch's
 * `MultiplicativeLR`. In `sequentialLR` it continues from the learning rate before, multiplied by the
 * factor for step 0, as in torch.
 *
 * A jump calls the function for every step up to the one that it goes to.
 *
 * @param options The function, or an object that has it as `lrLambda`.
 * @throws {TypeError} If it is not a function, or an option does not exist; and when it is called, if
 * its result is not a number.
 *
 * @example
 * ```ts
 * import { multiplicativeLR } from "@descent/sgd/schedules";
 *
 * const schedule = multiplicativeLR((step) => step % 2 === 0 ? 0.5 : 1);
 * console.log(schedule(1, 1), schedule(2, 1), schedule(4, 1)); // 1 0.5 0.25
 * ```
 *
 * @category Schedules
 */
export function multiplicativeLR(
  options: MultiplicativeLROptions | MultiplicativeLROptions["lrLambda"],
): Schedule {
  const lrLambda = readFunction(options);
  const factor = (step: number) => checkResult("lrLambda", lrLambda(step));
  return fromRecurrence({
    first: (lr) => lr,
    next: (lr, step) => lr * factor(step),
    restart: (_, lr) => lr * factor(0),
    continues: true,
  });
}

function readFunction(
  options: MultiplicativeLROptions | MultiplicativeLROptions["lrLambda"],
): MultiplicativeLROptions["lrLambda"] {
  const hasOptions = typeof options === "object" && options !== null;
  if (hasOptions) checkOptions(options, ["lrLambda"]);
  const lrLambda = hasOptions ? options.lrLambda : options;
  checkFunction("lrLambda", lrLambda);
  return lrLambda;
}
