/**
 * Learning-rate schedules with torch's names and torch's numbers.
 *
 * A {@linkcode Schedule} is a function of the step and of the learning rate that a group started
 * with. {@linkcode LRScheduler} sets the `lr` of each group of an optimizer from one.
 *
 * | Schedule | Learning rate |
 * | --- | --- |
 * | {@linkcode constantLR} | constant factor for the first steps |
 * | {@linkcode linearLR} | linear from one factor to another: a warm-up |
 * | {@linkcode stepLR}, {@linkcode multiStepLR} | multiplied by gamma at intervals, or at milestones |
 * | {@linkcode exponentialLR} | multiplied by gamma at every step |
 * | {@linkcode polynomialLR} | polynomial decay to 0 |
 * | {@linkcode cosineAnnealingLR} | cosine decay |
 * | {@linkcode cosineAnnealingWarmRestarts} | cosine decay with warm restarts |
 * | {@linkcode oneCycleLR} | 1cycle policy; momentum moves inversely |
 * | {@linkcode cyclicLR} | up and down between two learning rates; momentum moves inversely |
 * | {@linkcode multiplicativeLR} | multiplied by what an own function gives |
 * | {@linkcode swaLR} | to a constant, for averaged weights |
 * | {@linkcode sequentialLR} | one schedule after another |
 * | {@linkcode chainedScheduler} | the product of all factors |
 * | {@linkcode ReduceLROnPlateau} | reduced when a metric stops improving |
 *
 * Guide: [learning-rate schedules](https://github.com/descent/sgd/blob/main/docs/schedules.md).
 *
 * @example Warm up, then follow a cosine
 * ```ts
 * import { SGD } from "@descent/sgd";
 * import { cosineAnnealingLR, linearLR, LRScheduler, sequentialLR } from "@descent/sgd/schedules";
 *
 * const w = { data: new Float32Array(1), grad: new Float32Array(1) };
 * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
 * const warmUp = linearLR({ startFactor: 0.1, totalIters: 5 });
 * const schedule = sequentialLR([warmUp, cosineAnnealingLR({ tMax: 95 })], [5]);
 * const scheduler = new LRScheduler(optimizer, schedule);
 * for (let epoch = 0; epoch < 100; epoch++) {
 *   optimizer.step();
 *   scheduler.step();
 * }
 * console.log(scheduler.lastLr, scheduler.lastEpoch); // [ 0 ] 100
 * ```
 *
 * @module
 */

export type { Schedule } from "./src/schedules/schedule.ts";
export { constantLR, linearLR } from "./src/schedules/warmup.ts";
export type { ConstantLROptions, LinearLROptions } from "./src/schedules/warmup.ts";
export { exponentialLR, multiStepLR, polynomialLR, stepLR } from "./src/schedules/decay.ts";
export type {
  ExponentialLROptions,
  MultiStepLROptions,
  PolynomialLROptions,
  StepLROptions,
} from "./src/schedules/decay.ts";
export { cosineAnnealingLR, cosineAnnealingWarmRestarts } from "./src/schedules/cosine.ts";
export type {
  CosineAnnealingLROptions,
  CosineAnnealingWarmRestartsOptions,
} from "./src/schedules/cosine.ts";
export { cyclicLR } from "./src/schedules/cyclic.ts";
export type { CyclicLROptions } from "./src/schedules/cyclic.ts";
export { multiplicativeLR } from "./src/schedules/multiplicative.ts";
export type { MultiplicativeLROptions } from "./src/schedules/multiplicative.ts";
export { swaLR } from "./src/schedules/swa.ts";
export type { SwaLROptions } from "./src/schedules/swa.ts";
export { oneCycleLR } from "./src/schedules/one_cycle.ts";
export type { OneCycleLROptions } from "./src/schedules/one_cycle.ts";
export { chainedScheduler, sequentialLR } from "./src/schedules/compose.ts";
export { LRScheduler } from "./src/schedules/lr_scheduler.ts";
export type { LRSchedulerOptions } from "./src/schedules/lr_scheduler.ts";
export type { ScheduledOptimizer } from "./src/schedules/groups.ts";
export { ReduceLROnPlateau } from "./src/schedules/plateau.ts";
export type { ReduceLROnPlateauOptions } from "./src/schedules/plateau.ts";
