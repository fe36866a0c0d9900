/** The schedule of stochastic weight averaging. */

import { checkNumber, checkOptions, checkWord, NOT_NEGATIVE, WHOLE } from "../core/validate.ts";
import { fromRecurrence } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

/**
 * The options of `swaLR`.
 *
 * @category Schedules
 */
export interface SwaLROptions {
  /** The learning rate that it moves to, >= 0. */
  swaLr: number;
  /** Steps until it is there, >= 0. @default {10} */
  annealEpochs?: number;
  /** Whether it moves along a cosine or a line. @default {"cos"} */
  annealStrategy?: "cos" | "linear";
}

/**
 * Moves the learning rate to `swaLr` in `annealEpochs` steps, and keeps it there: torch's `SWALR`, for
 * weights that are averaged late in the training.
 *
 * It starts from the learning rate that the group has at the time of the first step, whatever its base
 * is; a learning rate that is assigned on the way shifts the rest of the way. So a scheduler of its own
 * may take over from another one, and in `sequentialLR` it continues from the schedule before.
 *
 * @throws {TypeError} If an option is of another type or does not exist.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { exponentialLR, sequentialLR, swaLR } from "@descent/sgd/schedules";
 *
 * const average = swaLR({ swaLr: 0.05, annealEpochs: 4, annealStrategy: "linear" });
 * const schedule = sequentialLR([exponentialLR({ gamma: 0.5 }), average], [3]);
 * console.log(schedule(2, 1), schedule(3, 1), schedule(7, 1)); // 0.25 0.25 0.05
 * ```
 *
 * @category Schedules
 */
export function swaLR(options: SwaLROptions): Schedule {
  checkOptions(options, ["swaLr", "annealEpochs", "annealStrategy"]);
  const { swaLr, annealEpochs = 10, annealStrategy = "cos" } = options;
  checkNumber("swaLr", swaLr, NOT_NEGATIVE);
  checkNumber("annealEpochs", annealEpochs, WHOLE);
  checkWord("annealStrategy", annealStrategy, ["cos", "linear"]);
  /** How much of the way has been made before a step. */
  const shareAt = (step: number) => {
    const time = Math.max(0, Math.min(1, step / Math.max(1, annealEpochs)));
    return annealStrategy === "cos" ? (1 - Math.cos(Math.PI * time)) / 2 : time;
  };
  const next = (lr: number, step: number) => {
    const at = annealEpochs === 0 ? Math.max(1, step) : step;
    const [before, share] = [shareAt(at - 1), shareAt(at)];
    const start = before === 1 ? swaLr : (lr - before * swaLr) / (1 - before);
    return swaLr * share + start * (1 - share);
  };
  return fromRecurrence({
    first: (lr) => next(lr, 0),
    next,
    restart: (_, lr) => next(lr, 0),
    continues: true,
    nextChange: (step, lr) => step < annealEpochs || lr !== swaLr ? step + 1 : Infinity,
    lastReset: (step) => step > annealEpochs ? step : 0,
  });
}
