/** The cyclical learning rate policy. */

import {
  checkBoolean,
  checkNumber,
  checkOptions,
  checkWord,
  COUNT,
  NOT_NEGATIVE,
  WHOLE,
} from "../core/validate.ts";
import { checkFunction, checkResult, fromFunction, setInitialLrFor } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

/**
 * The options of `cyclicLR`.
 *
 * @category Schedules
 */
export interface CyclicLROptions {
  /** The learning rate at the start of each cycle, >= 0. */
  baseLr: number;
  /** The learning rate at the top of the first cycle, >= 0. */
  maxLr: number;
  /** Steps up, >= 1. @default {2000} */
  stepSizeUp?: number;
  /** Steps down, >= 0. @default {stepSizeUp} */
  stepSizeDown?: number;
  /**
   * How the height of the cycles changes: it stays, is halved after each cycle, or is multiplied by
   * `gamma` at each step. `scaleFn` takes its place.
   * @default {"triangular"}
   */
  mode?: "triangular" | "triangular2" | "exp_range";
  /** What the height is multiplied by at each step with `"exp_range"`, >= 0. @default {1} */
  gamma?: number;
  /** An own factor of the height, for the number of a cycle, from 1 on, or of a step, from 0 on. */
  scaleFn?: (x: number) => number;
  /** Whether `scaleFn` gets the number of the cycle or of the step. @default {"cycle"} */
  scaleMode?: "cycle" | "iterations";
  /** Whether momentum falls as the learning rate rises, and rises as it falls. @default {true} */
  cycleMomentum?: boolean;
  /** Momentum at the top of the first cycle, >= 0. @default {0.8} */
  baseMomentum?: number;
  /** Momentum at the start of each cycle, >= 0. @default {0.9} */
  maxMomentum?: number;
}

type Cycles = Required<Omit<CyclicLROptions, "scaleFn">> & Pick<CyclicLROptions, "scaleFn">;

const DEFAULTS = {
  stepSizeUp: 2000,
  mode: "triangular",
  gamma: 1,
  scaleMode: "cycle",
  cycleMomentum: true,
  baseMomentum: 0.8,
  maxMomentum: 0.9,
} as const;

const LIMITS = {
  baseLr: NOT_NEGATIVE,
  maxLr: NOT_NEGATIVE,
  stepSizeUp: COUNT,
  stepSizeDown: WHOLE,
  gamma: NOT_NEGATIVE,
  baseMomentum: NOT_NEGATIVE,
  maxMomentum: NOT_NEGATIVE,
} as const;

/**
 * Moves the learning rate between `baseLr` and `maxLr` along lines, up and down again; momentum moves
 * inversely: torch's `CyclicLR`. One step is one batch.
 *
 * The learning rate that the group started with has no effect: an `LRScheduler` makes the group's
 * `initialLr` that of the cycle, `baseLr`, unless an earlier scheduler or a loaded state has settled it,
 * as torch does; such a group has its settled `initialLr` at step 0. With `cycleMomentum` the schedule
 * has a function `momentum` too, and an `LRScheduler` sets both.
 *
 * @throws {TypeError} If an option is of another type or does not exist; and when it is called, if the
 * result of `scaleFn` is not a number.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { cyclicLR } from "@descent/sgd/schedules";
 *
 * const schedule = cyclicLR({ baseLr: 0.25, maxLr: 1, stepSizeUp: 2, mode: "triangular2" });
 * console.log([0, 1, 2, 3, 4, 6].map((step) => schedule(step, 1))); // [ 0.25, 0.625, 1, 0.625, 0.25, 0.625 ]
 * ```
 *
 * @category Schedules
 */
export function cyclicLR(options: CyclicLROptions): Schedule {
  const cycles = complete(options);
  const { baseLr, maxLr, baseMomentum, maxMomentum } = cycles;
  const schedule = fromFunction((step) => {
    const { share, scale } = heightAt(step, cycles);
    return baseLr + (maxLr - baseLr) * share * scale;
  });
  setInitialLrFor(schedule, { lr: baseLr, isDefault: true });
  if (!cycles.cycleMomentum) return schedule;
  const momentum = (step: number) => {
    checkNumber("step", step, WHOLE);
    const { share, scale } = heightAt(step, cycles);
    return maxMomentum - (maxMomentum - baseMomentum) * share * scale;
  };
  return Object.assign(schedule, { momentum });
}

function complete(options: CyclicLROptions): Cycles {
  checkOptions(options, ["baseLr", "maxLr", "stepSizeDown", "scaleFn", ...Object.keys(DEFAULTS)]);
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
  const cycles = { ...DEFAULTS, ...given } as Cycles;
  cycles.stepSizeDown ??= cycles.stepSizeUp;
  for (const [name, limit] of Object.entries(LIMITS)) {
    checkNumber(name, cycles[name as keyof typeof LIMITS], limit);
  }
  checkWord("mode", cycles.mode, ["triangular", "triangular2", "exp_range"]);
  checkWord("scaleMode", cycles.scaleMode, ["cycle", "iterations"]);
  checkBoolean("cycleMomentum", cycles.cycleMomentum);
  if (cycles.scaleFn !== undefined) checkFunction("scaleFn", cycles.scaleFn);
  return cycles;
}

/** How far up a step is, from 0 to 1, and the factor of the height, in torch's order. */
function heightAt(step: number, cycles: Cycles): { share: number; scale: number } {
  const size = cycles.stepSizeUp + cycles.stepSizeDown;
  const ratio = cycles.stepSizeUp / size;
  const cycle = Math.floor(1 + step / size);
  const x = 1 + step / size - cycle;
  const share = x <= ratio ? x / ratio : (x - 1) / (ratio - 1);
  return { share, scale: scaleAt(step, cycle, cycles) };
}

function scaleAt(step: number, cycle: number, { mode, gamma, scaleFn, scaleMode }: Cycles): number {
  if (scaleFn !== undefined) {
    return checkResult("scaleFn", scaleFn(scaleMode === "cycle" ? cycle : step));
  }
  if (mode === "exp_range") return gamma ** step;
  return mode === "triangular" ? 1 : 1 / 2 ** (cycle - 1);
}
