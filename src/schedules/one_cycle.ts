/** The 1cycle policy. */

import {
  cannot,
  checkBoolean,
  checkNumber,
  checkOptions,
  checkWord,
  COUNT,
  NOT_NEGATIVE,
  outOfRange,
  POSITIVE,
  SHARE,
  WHOLE,
} from "../core/validate.ts";
import { fromFunction, setInitialLrFor } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

/**
 * The options of `oneCycleLR`. Either `totalSteps` or both `epochs` and `stepsPerEpoch`.
 *
 * @category Schedules
 */
export interface OneCycleLROptions {
  /** The highest learning rate, >= 0. */
  maxLr: number;
  /** Steps of the cycle, >= 1. @default {epochs * stepsPerEpoch} */
  totalSteps?: number;
  /** Epochs of the cycle, >= 1. */
  epochs?: number;
  /** Steps of each epoch, >= 1. */
  stepsPerEpoch?: number;
  /** The fraction of the cycle in which the learning rate rises, >= 0 and <= 1. @default {0.3} */
  pctStart?: number;
  /** Whether it moves along cosines or lines. @default {"cos"} */
  annealStrategy?: "cos" | "linear";
  /** Whether momentum falls as the learning rate rises, and rises as it falls. @default {true} */
  cycleMomentum?: boolean;
  /** Momentum at the highest learning rate, >= 0. @default {0.85} */
  baseMomentum?: number;
  /** Momentum at the start and the end, >= 0. @default {0.95} */
  maxMomentum?: number;
  /** The first learning rate is `maxLr / divFactor`; > 0. @default {25} */
  divFactor?: number;
  /** The last learning rate is the first one divided by this, > 0. @default {10000} */
  finalDivFactor?: number;
  /** Whether the learning rate falls to the first one before it falls to the last. @default {false} */
  threePhase?: boolean;
}

type Cycle = Required<Omit<OneCycleLROptions, "epochs" | "stepsPerEpoch">>;

/** A phase of the cycle: where it ends, and its first and last value. */
interface Phase {
  readonly end: number;
  readonly lr: readonly [from: number, to: number];
  readonly momentum: readonly [from: number, to: number];
}

const DEFAULTS = {
  pctStart: 0.3,
  annealStrategy: "cos",
  cycleMomentum: true,
  baseMomentum: 0.85,
  maxMomentum: 0.95,
  divFactor: 25,
  finalDivFactor: 1e4,
  threePhase: false,
} as const;

const LIMITS = {
  maxLr: NOT_NEGATIVE,
  totalSteps: COUNT,
  pctStart: SHARE,
  baseMomentum: NOT_NEGATIVE,
  maxMomentum: NOT_NEGATIVE,
  divFactor: POSITIVE,
  finalDivFactor: POSITIVE,
} as const;

/**
 * Raises the learning rate to `maxLr` and then lowers it far below its start; momentum moves
 * inversely: torch's `OneCycleLR`. One step is one batch.
 *
 * The learning rate that the group started with has no effect: an `LRScheduler` makes the group's
 * `initialLr` that of the cycle, `maxLr / divFactor`, as torch does. With `cycleMomentum` the schedule has
 * a function `momentum` too, and an `LRScheduler` sets both. Step `totalSteps` is the last one that
 * has a value; it comes after the end of the cycle, where lines are kept from falling below zero.
 *
 * @returns The schedule; it throws a RangeError for steps after `totalSteps`.
 * @throws {TypeError} If an option is of another type or does not exist, or the steps are missing.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example
 * ```ts
 * import { SGD } from "@descent/sgd";
 * import { LRScheduler, oneCycleLR } from "@descent/sgd/schedules";
 *
 * const w = { data: new Float32Array(1), grad: new Float32Array(1) };
 * const optimizer = new SGD([w], { lr: 1, momentum: 0.9 });
 * const scheduler = new LRScheduler(optimizer, oneCycleLR({ maxLr: 0.5, totalSteps: 100 }));
 * const [group] = optimizer.paramGroups;
 * console.log(group.lr.toFixed(3), group.momentum); // 0.020 0.95
 * for (let i = 0; i < 29; i++) {
 *   optimizer.step();
 *   scheduler.step();
 * }
 * console.log(group.lr.toFixed(3), group.momentum); // 0.500 0.85
 * ```
 *
 * @category Schedules
 */
export function oneCycleLR(options: OneCycleLROptions): Schedule {
  const cycle = complete(options);
  const phases = cycle.threePhase ? threePhases(cycle) : twoPhases(cycle);
  const anneal = cycle.annealStrategy === "cos" ? alongCosine : alongLine;
  const at = (step: number, what: "lr" | "momentum") => {
    const { phase, share } = find(phases, step, cycle.totalSteps);
    return Math.max(0, anneal(phase[what], share));
  };
  const schedule = fromFunction((step) => at(step, "lr"));
  setInitialLrFor(schedule, { lr: ends(cycle).firstLr, isDefault: false });
  if (!cycle.cycleMomentum) return schedule;
  const momentum = (step: number) => {
    checkNumber("step", step, WHOLE);
    return at(step, "momentum");
  };
  return Object.assign(schedule, { momentum });
}

function complete(options: OneCycleLROptions): Cycle {
  const known = [...Object.keys(DEFAULTS), "maxLr", "totalSteps", "epochs", "stepsPerEpoch"];
  checkOptions(options, known);
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
  const cycle = { ...DEFAULTS, ...given, totalSteps: countSteps(options) } as Cycle;
  for (const [name, limit] of Object.entries(LIMITS)) {
    checkNumber(name, cycle[name as keyof typeof LIMITS], limit);
  }
  checkWord("annealStrategy", cycle.annealStrategy, ["cos", "linear"]);
  checkBoolean("cycleMomentum", cycle.cycleMomentum);
  checkBoolean("threePhase", cycle.threePhase);
  return cycle;
}

function countSteps({ totalSteps, epochs, stepsPerEpoch }: OneCycleLROptions): number {
  if (totalSteps !== undefined) return totalSteps;
  if (epochs === undefined || stepsPerEpoch === undefined) {
    throw new TypeError(
      cannot("make the schedule", "totalSteps, or both epochs and stepsPerEpoch, must be given"),
    );
  }
  checkNumber("epochs", epochs, COUNT);
  checkNumber("stepsPerEpoch", stepsPerEpoch, COUNT);
  return epochs * stepsPerEpoch;
}

function twoPhases(cycle: Cycle): Phase[] {
  const { maxLr, totalSteps, pctStart, baseMomentum, maxMomentum } = cycle;
  const { firstLr, lastLr } = ends(cycle);
  return [
    {
      end: pctStart * totalSteps - 1,
      lr: [firstLr, maxLr],
      momentum: [maxMomentum, baseMomentum],
    },
    { end: totalSteps - 1, lr: [maxLr, lastLr], momentum: [baseMomentum, maxMomentum] },
  ];
}

function threePhases(cycle: Cycle): Phase[] {
  const { maxLr, totalSteps, pctStart, baseMomentum, maxMomentum } = cycle;
  const { firstLr, lastLr } = ends(cycle);
  return [
    twoPhases(cycle)[0],
    {
      end: 2 * pctStart * totalSteps - 2,
      lr: [maxLr, firstLr],
      momentum: [baseMomentum, maxMomentum],
    },
    { end: totalSteps - 1, lr: [firstLr, lastLr], momentum: [maxMomentum, maxMomentum] },
  ];
}

function ends({ maxLr, divFactor, finalDivFactor }: Cycle): { firstLr: number; lastLr: number } {
  const firstLr = maxLr / divFactor;
  return { firstLr, lastLr: firstLr / finalDivFactor };
}

/** The phase of a step, and the fraction of it that has passed: 1 if the phase has no length. */
function find(phases: readonly Phase[], step: number, totalSteps: number) {
  if (step > totalSteps) {
    throw outOfRange("take a step", `it must be at most totalSteps, which is ${totalSteps}`, step);
  }
  const found = phases.findIndex(({ end }) => step <= end);
  const at = found === -1 ? phases.length - 1 : found;
  const [start, phase] = [phases[at - 1]?.end ?? 0, phases[at]];
  return { phase, share: phase.end === start ? 1 : (step - start) / (phase.end - start) };
}

function alongCosine([from, to]: readonly [number, number], share: number): number {
  return to + (from - to) / 2 * (Math.cos(Math.PI * share) + 1);
}

function alongLine([from, to]: readonly [number, number], share: number): number {
  return (to - from) * share + from;
}
