/**
 * Descent: stochastic gradient descent for Deno, with torch's numbers, as one native pass over
 * memory.
 *
 * @example Train with momentum
 * ```ts
 * import { SGD } from "@descent/sgd";
 *
 * // Minimize (w - 3)^2.
 * const w = { data: new Float32Array([0]), grad: new Float32Array(1), name: "w" };
 * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.5 });
 * for (let i = 0; i < 100; i++) {
 *   w.grad[0] = 2 * (w.data[0] - 3);
 *   optimizer.step();
 * }
 * console.log(w.data[0].toFixed(3)); // 3.000
 * ```
 *
 * @module
 */

export { SGD } from "./src/optimizer/sgd.ts";
export type { ParameterStateView } from "./src/optimizer/sgd.ts";
export { BFloat16Array } from "./src/core/bfloat16.ts";
export type { Rounding, RoundingOptions } from "./src/core/rounding.ts";
export type { StepOptions } from "./src/step/options.ts";
export type { StepReport } from "./src/step/clipping.ts";
export { clipGradNorm } from "./src/optimizer/clip_grad_norm.ts";
export type { ClipOptions } from "./src/optimizer/clip_grad_norm.ts";
export { GradScaler } from "./src/optimizer/grad_scaler.ts";
export type {
  GradScalerOptions,
  ScaledOptimizer,
  ScaledStepOptions,
} from "./src/optimizer/grad_scaler.ts";
export { openGpu } from "./src/gpu/gpu.ts";
export { GpuUnavailableError } from "./src/gpu/device.ts";
export { sgd } from "./src/optimizer/functional.ts";
export type { SgdFunctionOptions } from "./src/optimizer/functional.ts";
export { sgdVjp } from "./src/optimizer/functional_vjp.ts";
export type { SgdCotangents, SgdGradients } from "./src/optimizer/functional_vjp.ts";
export type {
  BackwardOptions,
  BackwardResult,
  BackwardStep,
  BackwardTensor,
  Cotangents,
} from "./src/differentiable/backward.ts";
export type { HyperGradients } from "./src/backends/pullback.ts";
export type { Gpu, GpuMemory, GpuOptions } from "./src/gpu/gpu.ts";
export type { GpuArrays, GpuDtype } from "./src/gpu/dtype.ts";
export type { GpuInfo, GpuLimits } from "./src/gpu/info.ts";
export type { GpuKernel, GpuView } from "./src/gpu/kernel.ts";
export type { GpuTensor } from "./src/gpu/tensor.ts";
export type { ParamGroup } from "./src/core/hyperparameters.ts";
export type { ParamGroupOptions } from "./src/optimizer/param_groups.ts";
export type {
  BackendName,
  GroupOptions,
  Hyperparameters,
  SGDOptions,
} from "./src/core/hyperparameters.ts";
export type { DeviceTensor, Tensor } from "./src/core/dtype.ts";
export type { FloatArray, HalfArray, HostArray } from "./src/core/host_array.ts";
export type { Parameter, SparseGrad, SparseParameter } from "./src/core/parameter.ts";
export { chainedScheduler, sequentialLR } from "./src/schedules/compose.ts";
export { cosineAnnealingLR, cosineAnnealingWarmRestarts } from "./src/schedules/cosine.ts";
export type {
  CosineAnnealingLROptions,
  CosineAnnealingWarmRestartsOptions,
} from "./src/schedules/cosine.ts";
export { exponentialLR, multiStepLR, polynomialLR, stepLR } from "./src/schedules/decay.ts";
export type {
  ExponentialLROptions,
  MultiStepLROptions,
  PolynomialLROptions,
  StepLROptions,
} from "./src/schedules/decay.ts";
export type { ScheduledOptimizer } from "./src/schedules/groups.ts";
export { LRScheduler } from "./src/schedules/lr_scheduler.ts";
export { oneCycleLR } from "./src/schedules/one_cycle.ts";
export type { OneCycleLROptions } from "./src/schedules/one_cycle.ts";
export { ReduceLROnPlateau } from "./src/schedules/plateau.ts";
export type { ReduceLROnPlateauOptions } from "./src/schedules/plateau.ts";
export type { Schedule } from "./src/schedules/schedule.ts";
export { constantLR, linearLR } from "./src/schedules/warmup.ts";
export type { ConstantLROptions, LinearLROptions } from "./src/schedules/warmup.ts";
export { loadState, saveState } from "./src/checkpoint/checkpoint.ts";
export type {
  LoadStateOptions,
  Progress,
  SaveStateOptions,
  Stateful,
  StatefulScaler,
  StatefulScheduler,
} from "./src/checkpoint/checkpoint.ts";
export type { RoundingStateDict } from "./src/state/extras.ts";
export { decodeStateDict, encodeStateDict } from "./src/checkpoint/encoding.ts";
export { CheckpointError } from "./src/checkpoint/errors.ts";
export type {
  LoadStateDictOptions,
  LoadStateDictReport,
  StateDictOptions,
} from "./src/state/apply.ts";
export type { LRSchedulerStateDict } from "./src/state/extras.ts";
export type { GradScalerStateDict } from "./src/state/extras.ts";
export type {
  ParameterStateDict,
  ParamGroupStateDict,
  StateDict,
  TensorDict,
} from "./src/state/dict.ts";
