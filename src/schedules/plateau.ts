/** The scheduler that watches a metric. */

import { printContents } from "../core/printing.ts";
import {
  checkNumber,
  checkOptions,
  checkWord,
  NOT_NEGATIVE,
  outOfRange,
  WHOLE,
  wrongType,
} from "../core/validate.ts";
import type { Limit } from "../core/validate.ts";
import { readSchedulerDict } from "../state/extras.ts";
import type { LRSchedulerStateDict } from "../state/extras.ts";
import { checkCounts, Groups } from "./groups.ts";
import type { ScheduledOptimizer } from "./groups.ts";
import { PerGroup } from "./per_group.ts";
import { restoreGroups } from "./restore.ts";

/**
 * The options of `new ReduceLROnPlateau(optimizer, options)`.
 *
 * @category Schedules
 */
export interface ReduceLROnPlateauOptions {
  /** Whether less of the metric is better, or more. @default {"min"} */
  mode?: "min" | "max";
  /** What a reduction multiplies the learning rate by, >= 0 and < 1. @default {0.1} */
  factor?: number;
  /** Steps without improvement that are allowed, >= 0; the next one reduces. @default {10} */
  patience?: number;
  /** By how much a metric must be better to count, >= 0. @default {1e-4} */
  threshold?: number;
  /** Whether the threshold is a fraction of the best metric or a difference. @default {"rel"} */
  thresholdMode?: "rel" | "abs";
  /** Steps after a reduction that do not count, >= 0. @default {0} */
  cooldown?: number;
  /**
   * The lowest learning rate, >= 0: for all groups, also those that are added later, or a list with
   * one for each.
   * @default {0}
   */
  minLr?: number | readonly number[];
  /** Reductions by this much or less are left out, >= 0. @default {1e-8} */
  eps?: number;
}

type Options = Required<ReduceLROnPlateauOptions>;

const DEFAULTS: Options = {
  mode: "min",
  factor: 0.1,
  patience: 10,
  threshold: 1e-4,
  thresholdMode: "rel",
  cooldown: 0,
  minLr: 0,
  eps: 1e-8,
};

const BELOW_ONE: Limit = { text: ">= 0 and < 1", holds: (value) => value >= 0 && value < 1 };
const LIMITS = {
  factor: BELOW_ONE,
  patience: WHOLE,
  threshold: NOT_NEGATIVE,
  cooldown: WHOLE,
  eps: NOT_NEGATIVE,
} as const;

const MIN_LRS = { name: "minLr", one: "minLr", method: "addMinLr(minLr)" };

/** What a plateau remembers between steps. */
interface Memory {
  readonly lastEpoch: number;
  readonly best: number;
  readonly badEpochs: number;
  readonly cooldown: number;
}

/**
 * Reduces the learning rates of an optimizer when a metric stops improving: torch's
 * `ReduceLROnPlateau`. It multiplies the current learning rates, so it can be combined with
 * assignments and with an `LRScheduler` whose schedule multiplies too.
 *
 * @example
 * ```ts
 * import { SGD } from "@descent/sgd";
 * import { ReduceLROnPlateau } from "@descent/sgd/schedules";
 *
 * const w = { data: new Float32Array(1), grad: new Float32Array(1) };
 * const optimizer = new SGD([w], { lr: 1 });
 * const scheduler = new ReduceLROnPlateau(optimizer, { factor: 0.5, patience: 1 });
 * for (const loss of [0.9, 0.8, 0.8, 0.8]) {
 *   optimizer.step();
 *   scheduler.step(loss);
 * }
 * console.log(scheduler.lastLr); // [ 0.5 ]
 * ```
 *
 * @category Schedules
 */
export class ReduceLROnPlateau {
  readonly #groups: Groups;
  readonly #options: Options;
  readonly #minLrs: PerGroup<number>;
  #memory: Memory;

  /**
   * Makes a scheduler; nothing changes before a step.
   *
   * @param optimizer The optimizer.
   * @param options When and how to reduce.
   * @throws {TypeError} If something is of another type, or an option does not exist.
   * @throws {RangeError} If an option is out of its range, or `minLr` has another length.
   */
  constructor(optimizer: ScheduledOptimizer, options: ReduceLROnPlateauOptions = {}) {
    this.#groups = new Groups(optimizer);
    this.#options = complete(options);
    this.#minLrs = new PerGroup(MIN_LRS, this.#options.minLr, this.#groups.list, checkMinLr);
    this.#groups.recordLrs();
    this.#memory = { lastEpoch: 0, best: worst(this.#options), badEpochs: 0, cooldown: 0 };
    printContents(this, "ReduceLROnPlateau", () => {
      const { badEpochs: numBadEpochs, cooldown: cooldownCounter, ...memory } = this.#memory;
      const counters = { ...memory, numBadEpochs, cooldownCounter, lastLr: this.lastLr };
      const minLr = this.#minLrs.given(this.#groups.list);
      return { ...counters, ...this.#options, minLr };
    });
  }

  /**
   * Records a metric, and reduces the learning rates if it has stopped improving. If it throws,
   * nothing has changed.
   *
   * @param metric The metric of this step, such as the loss. NaN, and infinity on the worse side,
   * count as not better.
   * @throws {TypeError} If it is not a number.
   * @throws {RangeError} If it is infinity on the better side, or if a group was added that has no
   * `minLr`: `addMinLr` gives it one.
   */
  step(metric: number): void {
    checkMetric(metric, this.#options);
    const list = [...this.#groups.list];
    const minLrs = this.#minLrs.all(list);
    const { memory, isDue } = advance(this.#memory, metric, this.#options);
    const lrOf = (lr: number, i: number) => isDue ? reduce(lr, minLrs[i], this.#options) : lr;
    this.#groups.set(list.map((group, i) => ({ group, lr: lrOf(group.lr, i) })));
    this.#memory = memory;
  }

  /**
   * Gives a group that was added its lowest learning rate, where `minLr` is a list.
   *
   * @param minLr The lowest learning rate of the first group that has none, >= 0.
   * @throws {TypeError} If it is not a number, or `minLr` is one number for all groups.
   * @throws {RangeError} If it is out of range, or every group has one.
   */
  addMinLr(minLr: number): void {
    this.#minLrs.add(checkMinLr(minLr), this.#groups.list);
  }

  /** The number of metrics so far. */
  get lastEpoch(): number {
    return this.#memory.lastEpoch;
  }

  /** The learning rate of each group after the last step. */
  get lastLr(): number[] {
    return this.#groups.lastLrs();
  }

  /**
   * The state under torch's names, with the learning rates as they are now. The options are not part
   * of it; nor is `best` before there was a metric.
   */
  stateDict(): LRSchedulerStateDict {
    const { lastEpoch, best, badEpochs, cooldown } = this.#memory;
    return {
      last_epoch: lastEpoch,
      _last_lr: this.#groups.lrs(),
      ...(Number.isFinite(best) ? { best } : {}),
      num_bad_epochs: badEpochs,
      cooldown_counter: cooldown,
    };
  }

  /**
   * Resumes from a state, whether the optimizer's own was loaded before or will be after: the groups
   * get the learning rates of the state. Groups are matched as with `LRScheduler`, and there may be more
   * or fewer.
   *
   * Keys that Descent does not know are left out. If it throws, nothing has changed.
   *
   * @param dict The state, of Descent or of torch.
   * @throws {TypeError} If it is not valid.
   * @throws {RangeError} If it is of no groups, a learning rate is out of range, or the best metric is
   * infinitely good: before the first one torch has infinity on the worse side.
   */
  loadStateDict(dict: LRSchedulerStateDict): void {
    const required = ["last_epoch", "_last_lr", "num_bad_epochs", "cooldown_counter"];
    const given = readSchedulerDict(dict, required);
    const { _last_lr, best = worst(this.#options), ...counts } = given;
    checkCounts(given);
    checkBest(best, this.#options);
    restoreGroups({ groups: this.#groups }, dict, { lrs: _last_lr });
    this.#memory = {
      lastEpoch: counts.last_epoch,
      best,
      badEpochs: counts.num_bad_epochs!,
      cooldown: counts.cooldown_counter!,
    };
  }
}

function complete(options: ReduceLROnPlateauOptions): Options {
  checkOptions(options, Object.keys(DEFAULTS));
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const all = { ...DEFAULTS, ...Object.fromEntries(given) } as Options;
  checkWord("mode", all.mode, ["min", "max"]);
  checkWord("thresholdMode", all.thresholdMode, ["rel", "abs"]);
  for (const [name, limit] of Object.entries(LIMITS)) {
    checkNumber(name, all[name as keyof typeof LIMITS], limit);
  }
  return all;
}

function checkMinLr(value: unknown): number {
  checkNumber("minLr", value, NOT_NEGATIVE);
  return value as number;
}

function worst({ mode }: Options): number {
  return mode === "min" ? Infinity : -Infinity;
}

function checkMetric(metric: unknown, options: Options): void {
  if (typeof metric !== "number") {
    throw wrongType("step", "metric must be a number", metric);
  }
  if (metric === -worst(options)) {
    throw outOfRange("step", "metric must not be infinitely good", metric);
  }
}

/** No metric can be better than an infinitely good one. */
function checkBest(best: number, options: Options): void {
  if (best !== -worst(options)) return;
  const reason = `lr_scheduler.best must not be infinitely good for the mode "${options.mode}"`;
  throw outOfRange("use the state dict", reason, best);
}

/** The memory after a metric, and whether the learning rates are to be reduced. */
function advance(memory: Memory, metric: number, options: Options) {
  const better = isBetter(metric, memory.best, options);
  const isCooling = memory.cooldown > 0;
  const badEpochs = better || isCooling ? 0 : memory.badEpochs + 1;
  const isDue = badEpochs > options.patience;
  return {
    isDue,
    memory: {
      lastEpoch: memory.lastEpoch + 1,
      best: better ? metric : memory.best,
      badEpochs: isDue ? 0 : badEpochs,
      cooldown: isDue ? options.cooldown : memory.cooldown - Number(isCooling),
    },
  };
}

function isBetter(metric: number, best: number, { mode, threshold, thresholdMode }: Options) {
  const isRelative = thresholdMode === "rel";
  if (mode === "min") {
    return metric < (isRelative ? best * (1 - threshold) : best - threshold);
  }
  return metric > (isRelative ? best * (threshold + 1) : best + threshold);
}

function reduce(lr: number, minLr: number, { factor, eps }: Options): number {
  const reduced = Math.max(lr * factor, minLr);
  return lr - reduced > eps ? reduced : lr;
}
