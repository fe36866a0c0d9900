/** The class that scales losses so that small gradients are not lost in 16 bits. */

import { isInvertible } from "../core/hyperparameters.ts";
import { printContents } from "../core/printing.ts";
import {
  ABOVE_ONE,
  BELOW_ONE,
  cannot,
  checkNumber,
  checkObject,
  checkOptions,
  COUNT,
  outOfRange,
  POSITIVE,
  wrongType,
} from "../core/validate.ts";
import { checkScalerDict } from "../state/extras.ts";
import type { GradScalerStateDict } from "../state/extras.ts";
import { withReport } from "../step/awaited_report.ts";
import type { StepReport } from "../step/clipping.ts";
import type { StepOptions } from "../step/options.ts";

/**
 * The options of a `GradScaler`; names, defaults and meaning are torch's.
 *
 * @category Gradients
 */
export interface GradScalerOptions {
  /** The first scale, finite and > 0. @default {65536} */
  initScale?: number;
  /**
   * What the scale is multiplied by after `growthInterval` good steps, finite and > 1.
   * @default {2}
   */
  growthFactor?: number;
  /** What it is multiplied by after a skipped step, > 0 and < 1. @default {0.5} */
  backoffFactor?: number;
  /** Good steps in a row until the scale grows, a whole number >= 1. @default {2000} */
  growthInterval?: number;
}

/**
 * The options of a step with a scaler, which sets `gradScale` and `checkFinite` itself.
 *
 * @category Gradients
 */
export type ScaledStepOptions = Omit<StepOptions, "gradScale" | "checkFinite">;

/**
 * The members of an optimizer that a scaler uses; an `SGD` has them.
 *
 * @category Gradients
 */
export interface ScaledOptimizer {
  /** Takes a step. */
  step(options: StepOptions): unknown;
  /** Takes a step without blocking the event loop. */
  stepAsync(options: StepOptions): Promise<StepReport>;
  /** What the last step did. */
  readonly lastStep: StepReport | null;
}

const OPTIONS = ["initScale", "growthFactor", "backoffFactor", "growthInterval"];

/**
 * Scales losses for mixed precision, as `torch.amp.GradScaler`: the scale grows after many steps
 * whose gradients were finite, and shrinks after one that was not, which is skipped. Like torch's
 * it is a float32.
 *
 * @example
 * ```ts
 * import { GradScaler, SGD } from "@descent/sgd";
 *
 * const w = { data: new Float32Array([1]), grad: new Float32Array(1) };
 * const optimizer = new SGD([w], { lr: 0.1 });
 * const scaler = new GradScaler();
 * for (let i = 0; i < 10; i++) {
 *   w.grad[0] += scaler.scale(2 * w.data[0]); // of w^2
 *   scaler.step(optimizer, { maxNorm: 1, zeroGrad: true });
 *   scaler.update();
 * }
 * console.log(w.data[0].toFixed(3), scaler.getScale()); // 0.164 65536
 * ```
 *
 * @category Gradients
 */
export class GradScaler {
  #state: GradScalerStateDict;
  /** The optimizers that have stepped since the last update, and whether they were skipped. */
  readonly #stepped = new Map<ScaledOptimizer, boolean>();

  /**
   * Makes a scaler.
   *
   * @throws {TypeError} If an option does not exist or is of another type.
   * @throws {RangeError} If one is out of its range.
   */
  constructor(options: GradScalerOptions = {}) {
    checkOptions(options, OPTIONS);
    const { initScale = 2 ** 16, growthFactor = 2, backoffFactor = 0.5, growthInterval = 2000 } =
      options;
    checkNumber("initScale", initScale, POSITIVE);
    checkNumber("growthFactor", growthFactor, ABOVE_ONE);
    checkNumber("backoffFactor", backoffFactor, BELOW_ONE);
    checkNumber("growthInterval", growthInterval, COUNT);
    this.#state = {
      scale: toScale("initScale", initScale),
      growth_factor: growthFactor,
      backoff_factor: backoffFactor,
      growth_interval: growthInterval,
      _growth_tracker: 0,
    };
    printContents(this, "GradScaler", () => ({
      scale: this.#state.scale,
      growthFactor: this.#state.growth_factor,
      backoffFactor: this.#state.backoff_factor,
      growthInterval: this.#state.growth_interval,
      growthTracker: this.#state._growth_tracker,
    }));
  }

  /** A loss, or a gradient of it, times the scale. */
  scale(loss: number): number {
    return loss * this.#state.scale;
  }

  /** The scale. */
  getScale(): number {
    return this.#state.scale;
  }

  /**
   * Takes a step of an optimizer whose gradients are those of the scaled loss: they are unscaled and
   * checked in the same pass.
   *
   * @param optimizer The optimizer; once per update.
   * @param options What else happens to the gradients, clipping for example.
   * @returns What the step did, and whether it was skipped.
   * @throws {TypeError} As `SGD.step`, if the options have `gradScale` or `checkFinite`, and if the
   * gradients are on a GPU, which reports only to `stepAsync`.
   * @throws {RangeError} As `SGD.step`.
   * @throws {Error} If the optimizer has stepped since the last update.
   */
  step(optimizer: ScaledOptimizer, options: ScaledStepOptions = {}): StepReport {
    const own = this.#optionsOf(optimizer, options);
    withReport(() => optimizer.step(own));
    const report = optimizer.lastStep!;
    this.#stepped.set(optimizer, report.skipped);
    return report;
  }

  /** Does the same as `step` with `optimizer.stepAsync`. */
  async stepAsync(
    optimizer: ScaledOptimizer,
    options: ScaledStepOptions = {},
  ): Promise<StepReport> {
    const report = await optimizer.stepAsync(this.#optionsOf(optimizer, options));
    this.#stepped.set(optimizer, report.skipped);
    return report;
  }

  /**
   * Sets the scale for the next losses: by what the steps since the last update found, or to a value.
   *
   * @param newScale The scale from now on, finite and > 0.
   * @throws {TypeError} If it is not a number.
   * @throws {RangeError} If it is out of its range.
   * @throws {Error} If no step was taken and no value is given.
   */
  update(newScale?: number): void {
    if (newScale !== undefined) {
      checkNumber("the scale", newScale, POSITIVE);
      this.#state.scale = toScale("the scale", newScale);
    } else if (this.#stepped.size === 0) {
      throw new Error(cannot("update the scale", "no optimizer has stepped since the last update"));
    } else this.#adapt([...this.#stepped.values()].some((skipped) => skipped));
    this.#stepped.clear();
  }

  /** The state under torch's names. */
  stateDict(): GradScalerStateDict {
    return { ...this.#state };
  }

  /**
   * Resumes from a state of Descent or of torch.
   *
   * @throws {TypeError} If it is not valid; nothing has changed then.
   */
  loadStateDict(dict: GradScalerStateDict): void {
    this.#state = { ...checkScalerDict(dict) };
  }

  #optionsOf(optimizer: ScaledOptimizer, options: ScaledStepOptions): StepOptions {
    if (typeof (optimizer as ScaledOptimizer | null | undefined)?.step !== "function") {
      throw wrongType("step", "the first argument must be an optimizer", optimizer);
    }
    checkObject("step", options, "the options");
    if (this.#stepped.has(optimizer)) {
      throw new Error(
        cannot("step", "the optimizer has stepped since the last update", "update first"),
      );
    }
    for (const name of ["gradScale", "checkFinite"]) {
      if (name in options) {
        throw new TypeError(cannot(`set ${name}`, "it is the scaler's own"));
      }
    }
    return { ...options, gradScale: this.#state.scale, checkFinite: true };
  }

  #adapt(found: boolean): void {
    const state = this.#state;
    if (found) {
      const smaller = Math.fround(state.scale * state.backoff_factor);
      if (isInvertible(smaller)) state.scale = smaller;
      state._growth_tracker = 0;
    } else if (++state._growth_tracker === state.growth_interval) {
      const grown = Math.fround(state.scale * state.growth_factor);
      if (grown < Infinity) state.scale = grown;
      state._growth_tracker = 0;
    }
  }
}

/** The nearest float32, which must not be 0 or infinite. */
function toScale(name: string, value: number): number {
  const scale = Math.fround(value);
  if (scale < Infinity && isInvertible(scale)) return scale;
  throw outOfRange(`set ${name}`, "a float32 must hold it and its inverse", value);
}
