/** The class that scales losses so that small gradients are not lost in 16 bits. */

import { isInvertible } from "../core/hyperparameters.ts";
import { printContents } from "../core/printing.ts";
import {
  ABOVE_ONE,
  BELOW_ONE,
  cannot,
  checkBoolean,
  checkNumber,
  checkObject,
  checkOptions,
  COUNT,
  outOfRange,
  POSITIVE,
  wrongType,
} from "../core/validate.ts";
import { checkScalerDict } from "../state/extras.ts";
import type { GradScalerStateDict, ScalerState } from "../state/extras.ts";
import { withReport } from "../step/awaited_report.ts";
import type { StepReport } from "../step/clipping.ts";
import { SKIP } from "../step/options.ts";
import type { StepOptions } from "../step/options.ts";
import { unscaleGradients } from "./unscale.ts";

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
  /**
   * Whether it scales at all. With `false` the scale is 1, `step` only steps, `unscale` and `update` do
   * nothing, and the state is `{}`: so a loop can be written once.
   * @default {true}
   */
  enabled?: boolean;
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
  /** Its groups, for `unscale`. */
  readonly paramGroups?: readonly { readonly params: Iterable<object> }[];
}

const OPTIONS = ["initScale", "growthFactor", "backoffFactor", "growthInterval", "enabled"];

/** What has happened to the gradients of an optimizer since the last update. */
interface Progress {
  /** Whether one of them is infinite or NaN. */
  readonly found: boolean;
  /** Whether the step has been taken, or skipped; else they have been unscaled. */
  readonly hasStepped: boolean;
}

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
  #state: ScalerState;
  readonly #enabled: boolean;
  /** The optimizers that have been unscaled or stepped since the last update. */
  readonly #progress = new Map<ScaledOptimizer, Progress>();

  /**
   * Makes a scaler.
   *
   * @throws {TypeError} If an option does not exist or is of another type.
   * @throws {RangeError} If one is out of its range.
   */
  constructor(options: GradScalerOptions = {}) {
    checkOptions(options, OPTIONS);
    const { initScale = 2 ** 16, growthFactor = 2, backoffFactor = 0.5 } = options;
    const { growthInterval = 2000, enabled = true } = options;
    checkNumber("initScale", initScale, POSITIVE);
    checkNumber("growthFactor", growthFactor, ABOVE_ONE);
    checkNumber("backoffFactor", backoffFactor, BELOW_ONE);
    checkNumber("growthInterval", growthInterval, COUNT);
    checkBoolean("enabled", enabled);
    this.#enabled = enabled;
    this.#state = {
      scale: toScale("initScale", initScale),
      growth_factor: growthFactor,
      backoff_factor: backoffFactor,
      growth_interval: growthInterval,
      _growth_tracker: 0,
    };
    printContents(this, "GradScaler", () => this.#contents());
  }

  /** What consoles show of it. */
  #contents(): object {
    if (!this.#enabled) return { enabled: false };
    return {
      scale: this.#state.scale,
      growthFactor: this.#state.growth_factor,
      backoffFactor: this.#state.backoff_factor,
      growthInterval: this.#state.growth_interval,
      growthTracker: this.#state._growth_tracker,
    };
  }

  /** A loss, or a gradient of it, times the scale. */
  scale(loss: number): number {
    return loss * this.getScale();
  }

  /** The scale; 1 if the scaler is not enabled. */
  getScale(): number {
    return this.#enabled ? this.#state.scale : 1;
  }

  /** Whether it scales. */
  isEnabled(): boolean {
    return this.#enabled;
  }

  /**
   * Unscales the gradients of an optimizer in place, for code between it and the step that reads or
   * changes them, such as clipping of its own. The next step of this optimizer does not unscale them
   * again. If one of them is infinite or NaN, that step is skipped, whatever happens to them in between.
   *
   * Without such code, `step` does the same faster.
   *
   * In a world all ranks call it together. If a gradient of one of them is infinite or NaN, all skip the
   * step, and the scale shrinks on all.
   *
   * @param optimizer The optimizer; once per update, and before its step.
   * @throws {TypeError} If it is not an optimizer, or a gradient is on a GPU, detached, resizable or of
   * float16.
   * @throws {RangeError} If gradients share memory.
   * @throws {WorldError} If other ranks do something else, or have another scale; nothing has changed then.
   * @throws {Error} If its gradients have been unscaled or it has stepped since the last update, or a step
   * is running.
   *
   * @example
   * ```ts
   * import { clipGradValue, GradScaler, SGD } from "@descent/sgd";
   *
   * const w = { data: new Float32Array([1]), grad: new Float32Array(1) };
   * const optimizer = new SGD([w], { lr: 0.1 });
   * const scaler = new GradScaler();
   * w.grad[0] = scaler.scale(4);
   * scaler.unscale(optimizer);
   * clipGradValue([w], 2);
   * scaler.step(optimizer);
   * scaler.update();
   * console.log(w.data[0].toFixed(1)); // 0.8
   * ```
   */
  unscale(optimizer: ScaledOptimizer): void {
    if (!this.#enabled) return;
    checkOptimizer("unscale", optimizer);
    const progress = this.#progress.get(optimizer);
    if (progress !== undefined) {
      const what = progress.hasStepped ? "the optimizer has stepped" : "that has been done";
      const reason = `${what} since the last update`;
      throw new Error(cannot("unscale the gradients", reason, "update first"));
    }
    const found = unscaleGradients(optimizer, this.#state.scale);
    this.#progress.set(optimizer, { found, hasStepped: false });
  }

  /**
   * Takes a step of an optimizer whose gradients are those of the scaled loss: they are unscaled and
   * checked in the same pass, unless `unscale` has done so.
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
    this.#remember(optimizer, report);
    return report;
  }

  /** Does the same as `step` with `optimizer.stepAsync`. */
  async stepAsync(
    optimizer: ScaledOptimizer,
    options: ScaledStepOptions = {},
  ): Promise<StepReport> {
    const report = await optimizer.stepAsync(this.#optionsOf(optimizer, options));
    this.#remember(optimizer, report);
    return report;
  }

  /**
   * Sets the scale for the next losses: by what the steps since the last update found, or to a value.
   *
   * @param newScale The scale from now on, finite and > 0.
   * @throws {TypeError} If it is not a number.
   * @throws {RangeError} If it is out of its range.
   * @throws {Error} If nothing was stepped or unscaled and no value is given.
   */
  update(newScale?: number): void {
    if (!this.#enabled) return;
    if (newScale !== undefined) {
      checkNumber("the scale", newScale, POSITIVE);
      this.#state.scale = toScale("the scale", newScale);
    } else if (this.#progress.size === 0) {
      throw new Error(cannot("update the scale", "no optimizer has stepped since the last update"));
    } else this.#adapt([...this.#progress.values()].some(({ found }) => found));
    this.#progress.clear();
  }

  /** The state under torch's names; `{}` if the scaler is not enabled. */
  stateDict(): GradScalerStateDict {
    return this.#enabled ? { ...this.#state } : {};
  }

  /**
   * Resumes from a state of Descent or of torch. A scaler that is not enabled leaves it unread.
   *
   * @throws {TypeError} If it is not valid, or that of a scaler that is not enabled; nothing has changed
   * then.
   */
  loadStateDict(dict: GradScalerStateDict): void {
    if (!this.#enabled) return;
    this.#state = { ...checkScalerDict(dict) };
  }

  #optionsOf(optimizer: ScaledOptimizer, options: ScaledStepOptions): StepOptions {
    checkOptimizer("step", optimizer);
    checkObject("step", options, "the options");
    const progress = this.#progress.get(optimizer);
    if (progress?.hasStepped) {
      throw new Error(
        cannot("step", "the optimizer has stepped since the last update", "update first"),
      );
    }
    for (const name of ["gradScale", "checkFinite"]) {
      if (name in options) {
        throw new TypeError(cannot(`set ${name}`, "it is the scaler's own"));
      }
    }
    if (!this.#enabled) return options;
    if (progress?.found) return { ...options, checkFinite: true, [SKIP]: true } as StepOptions;
    if (progress !== undefined) return options;
    return { ...options, gradScale: this.#state.scale, checkFinite: true };
  }

  #remember(optimizer: ScaledOptimizer, { skipped }: StepReport): void {
    if (!this.#enabled) return;
    const found = skipped || this.#progress.get(optimizer)?.found === true;
    this.#progress.set(optimizer, { found, hasStepped: true });
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

function checkOptimizer(doing: string, optimizer: unknown): void {
  if (typeof (optimizer as ScaledOptimizer | null | undefined)?.step === "function") return;
  throw wrongType(doing, "the first argument must be an optimizer", optimizer);
}

/** The nearest float32, which must not be 0 or infinite. */
function toScale(name: string, value: number): number {
  const scale = Math.fround(value);
  if (scale < Infinity && isInvertible(scale)) return scale;
  throw outOfRange(`set ${name}`, "a float32 must hold it and its inverse", value);
}
