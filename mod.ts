/**
 * Descent: stochastic gradient descent for Deno, with the numbers of `torch.optim.SGD`.
 *
 * A step is one fused pass over memory in Rust, called through Deno FFI. Without the native library
 * the same update rule runs in TypeScript and WebAssembly.
 *
 * | In this entry | |
 * | --- | --- |
 * | {@linkcode SGD} | the optimizer: parameter groups, momentum, steps with options, state |
 * | {@linkcode sgd} | one step on lists of arrays, without an optimizer |
 * | {@linkcode WeightAverage} | averages of weights over the steps |
 * | {@linkcode GradScaler}, {@linkcode clipGradNorm}, {@linkcode clipGradValue} | mixed precision and clipping |
 * | {@linkcode BFloat16Array} | bfloat16 parameters |
 * | {@linkcode sgdVjp} | the derivatives of one step; {@linkcode SGD.backward} has those of many |
 * | {@linkcode saveState}, {@linkcode loadState} | checkpoint files that PyTorch reads |
 * | {@linkcode encodeStateDict}, {@linkcode decodeStateDict} | the same as bytes |
 *
 * | Other entries | |
 * | --- | --- |
 * | `@descent/sgd/schedules` | learning-rate schedules and what sets them |
 * | `@descent/sgd/gpu` | tensors, kernels and steps on a GPU |
 * | `@descent/sgd/webgpu` | tensors in buffers of your own WebGPU device |
 * | `@descent/sgd/tfjs` | an optimizer for TensorFlow.js |
 * | `@descent/sgd/safetensors` | tensors of any safetensors file |
 * | `@descent/sgd/mpi` | several processes that train one model |
 * | `@descent/sgd/install` | installs the native library, once per machine |
 * | `@descent/sgd/doctor` | prints which library and backend are used, and why |
 *
 * Guides: [SGD](https://github.com/descent/sgd/blob/main/docs/sgd.md),
 * [for people who know PyTorch](https://github.com/descent/sgd/blob/main/docs/torch.md),
 * [averaged weights](https://github.com/descent/sgd/blob/main/docs/averages.md),
 * [mixed precision](https://github.com/descent/sgd/blob/main/docs/mixed-precision.md),
 * [16-bit types](https://github.com/descent/sgd/blob/main/docs/16-bit.md),
 * [asynchronous steps](https://github.com/descent/sgd/blob/main/docs/async.md),
 * [sparse gradients](https://github.com/descent/sgd/blob/main/docs/sparse.md),
 * [differentiable steps](https://github.com/descent/sgd/blob/main/docs/differentiable.md),
 * [checkpoints](https://github.com/descent/sgd/blob/main/docs/checkpoints.md),
 * [numerics](https://github.com/descent/sgd/blob/main/docs/numerics.md) and
 * [troubleshooting](https://github.com/descent/sgd/blob/main/docs/troubleshooting.md).
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

// The optimizer.
export { SGD } from "./src/optimizer/sgd.ts";
export type { ParameterStateView } from "./src/optimizer/sgd.ts";
export { sgd } from "./src/optimizer/functional.ts";
export type { SgdFunctionOptions } from "./src/optimizer/functional_options.ts";
export type {
  BackendName,
  GroupOptions,
  Hyperparameters,
  ParamGroup,
  ParamGroupSummary,
  SGDOptions,
} from "./src/core/hyperparameters.ts";
export type {
  ListedParameter,
  ParamGroupOptions,
  ParamGroupWithLr,
} from "./src/optimizer/param_groups.ts";
export type { SGDSummary } from "./src/optimizer/summary.ts";
export type { SGDWorld } from "./src/core/exchange.ts";
export type { Rounding, RoundingOptions } from "./src/core/rounding.ts";
export type { StepOptions } from "./src/step/options.ts";
export type { StepReport } from "./src/step/clipping.ts";
export { WeightAverage } from "./src/step/weight_average.ts";
export type { WeightAverageOptions } from "./src/step/average_options.ts";
export type { AveragedParameter } from "./src/step/averaged.ts";

// Parameters and their arrays.
export { BFloat16Array } from "./src/core/bfloat16.ts";
export type { DeviceTensor, Tensor } from "./src/core/dtype.ts";
export type { FloatArray, HalfArray, HostArray } from "./src/core/host_array.ts";
export type { HalfGradient, Parameter, SparseGrad, SparseParameter } from "./src/core/parameter.ts";

// Gradients: scaling and clipping.
export { clipGradNorm } from "./src/optimizer/clip_grad_norm.ts";
export type { ClipOptions } from "./src/optimizer/clip_grad_norm.ts";
export { clipGradValue } from "./src/optimizer/clip_grad_value.ts";
export type { ClipValueOptions } from "./src/optimizer/clip_grad_value.ts";
export { GradScaler } from "./src/optimizer/grad_scaler.ts";
export type {
  GradScalerOptions,
  ScaledOptimizer,
  ScaledStepOptions,
} from "./src/optimizer/grad_scaler.ts";

// Differentiable steps.
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

// State dicts and checkpoints.
export { loadState, saveState } from "./src/checkpoint/checkpoint.ts";
export type {
  LoadStateOptions,
  Progress,
  SaveStateOptions,
  Stateful,
  StatefulAverage,
  StatefulScaler,
  StatefulScheduler,
} from "./src/checkpoint/checkpoint.ts";
export { decodeStateDict, encodeStateDict } from "./src/checkpoint/encoding.ts";
export { CheckpointError } from "./src/checkpoint/errors.ts";
export type { LoadStateDictOptions, LoadStateDictReport } from "./src/state/apply.ts";
export type { StateDictOptions } from "./src/state/take.ts";
export type { WeightAverageStateDict } from "./src/state/weight_average.ts";
export type {
  GradScalerStateDict,
  LRSchedulerStateDict,
  RoundingStateDict,
} from "./src/state/extras.ts";
export type {
  ParameterStateDict,
  ParamGroupStateDict,
  StateDict,
  TensorDict,
} from "./src/state/dict.ts";
