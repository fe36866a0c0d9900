/** The public types of the adapter. */

import type { SGDOptions } from "../core/hyperparameters.ts";
import type { SGD } from "../optimizer/sgd.ts";
import type { StepOptions } from "../step/options.ts";
import type { NamedTfTensor, TfGradients, Tfjs, TfTensor, TfVariable } from "./api.ts";
import type { OptimizerConfig } from "./config.ts";

/**
 * The options of `new DescentOptimizer(tf, options)`: those of `SGD`, and some of the adapter.
 *
 * @category TensorFlow.js
 */
export interface DescentOptimizerOptions extends SGDOptions {
  /**
   * Where variables are stepped. `"copy"` uses the public API of tfjs alone: on its backends `cpu` and
   * `wasm` gradients and variables are copied once each per step, on `webgpu` gradients are copied on the
   * device. `"view"` steps in the memory of tfjs, without a copy. It is tried when it is first used, and
   * throws if the version of tfjs does not allow it.
   * @default {"copy"}
   */
  memory?: "copy" | "view";
  /**
   * The variables to step. Without them, they are those of the first gradients.
   */
  variables?: Iterable<TfVariable>;
  /** Options for every step, such as `{ maxNorm: 1 }`. They are read at each step. */
  stepOptions?: StepOptions;
}

/**
 * An optimizer of TensorFlow.js that steps by {@linkcode SGD}.
 *
 * @category TensorFlow.js
 */
export interface DescentOptimizerInstance {
  /**
   * The `SGD` that steps the variables: for schedules, state dicts and reports. It is null until the
   * first gradients, unless `variables` was given, and after `dispose`. On the backend `webgpu` its
   * arrays are tensors of the device.
   */
  readonly sgd: SGD | null;
  /** The number of times that gradients have been applied. */
  readonly iterations: number;
  /** The options of every step. They can be assigned between steps. */
  stepOptions: StepOptions | undefined;
  /**
   * Computes the gradients of a loss and applies them.
   *
   * @param f Computes the loss: a scalar.
   * @param returnCost Whether to return the loss; otherwise it is disposed. @default {false}
   * @param varList The variables; all that are trainable by default.
   * @returns The loss, or null.
   */
  minimize(f: () => TfTensor, returnCost?: boolean, varList?: TfVariable[]): TfTensor | null;
  /** Computes a loss and the gradients of it by the names of the variables, as `tf.variableGrads`. */
  computeGradients(
    f: () => TfTensor,
    varList?: TfVariable[],
  ): { value: TfTensor; grads: Record<string, TfTensor> };
  /**
   * Takes a step. Everything is checked before the first write: if this throws, no variable has changed.
   * Variables that have no gradient stay as they are, with their momentum. Those that come later than the
   * first gradients are added to `sgd` as a new group with the options of the first.
   *
   * @param gradients The gradients by the names of the variables, or a list of names and gradients.
   * @throws {TypeError} If a variable is not float32, or as `SGD.step`.
   * @throws {RangeError} If tfjs has no variable of a name, or as `SGD.step`.
   * @throws {Error} If the optimizer has been disposed, or if `memory: "view"` does not work with the
   * backend or the version of tfjs.
   */
  applyGradients(gradients: TfGradients): void;
  /**
   * Assigns the data of the parameters of `sgd` to the variables, for code that has read `sgd` and written
   * into them. Steps and `sgd.loadStateDict` do so by themselves. A variable that something else has been
   * assigned to since then keeps that.
   *
   * @throws {Error} If the optimizer has been disposed, or tfjs uses another backend.
   */
  assignVariables(): void;
  /**
   * Sets the learning rate of all groups.
   *
   * @throws {TypeError} If it is not a number.
   * @throws {RangeError} If it is negative, infinite or NaN.
   */
  setLearningRate(learningRate: number): void;
  /**
   * The number of steps and the state, as tensors that `model.save` writes with
   * `includeOptimizer: true`. They are disposed by the next call, and by `dispose`.
   */
  getWeights(): Promise<NamedTfTensor[]>;
  /**
   * Resumes from what `getWeights` returned. State belongs to variables by their names, apart from
   * numbers at the end; where names do not match it goes by order, but not in an optimizer that was loaded
   * with a model. It waits for variables that have no gradients yet, which are then in groups like those
   * in which they were saved.
   *
   * @throws {TypeError} If the weights are not those of a `DescentOptimizer`.
   * @throws {RangeError} If they are those of other variables.
   */
  setWeights(weights: readonly NamedTfTensor[]): Promise<void>;
  /** The number of steps as a tensor. */
  saveIterations(): Promise<NamedTfTensor>;
  /** The options, with the current hyperparameters of the first group, as JSON. */
  getConfig(): OptimizerConfig;
  /** The name of the class in saved models: `DescentOptimizer`. */
  getClassName(): string;
  /** Forgets the state. The variables stay, and the optimizer cannot be used any more. */
  dispose(): void;
}

/**
 * Makes optimizers of TensorFlow.js. What it makes is also of the type of tfjs's own optimizers.
 *
 * @category TensorFlow.js
 */
export interface DescentOptimizerConstructor {
  /**
   * Makes an optimizer.
   *
   * @param tf The module of tfjs: `import * as tf from "@tensorflow/tfjs"`.
   * @param options The options of `SGD` and of the adapter; `lr` is required.
   * @throws {TypeError} If an option does not exist or is of another type.
   * @throws {RangeError} If an option is out of range.
   */
  new <Base>(tf: Tfjs<Base>, options: DescentOptimizerOptions): Base & DescentOptimizerInstance;
  /** The name of the class in saved models. */
  readonly className: string;
  /**
   * Lets `tf.loadLayersModel` make this optimizer for models that were saved with it.
   *
   * @param tf The module of tfjs.
   */
  register(tf: Tfjs): void;
  /**
   * Makes an optimizer of what `getConfig` returned.
   *
   * @param tf The module of tfjs.
   * @param config The configuration.
   */
  fromConfig<Base>(tf: Tfjs<Base>, config: object): Base & DescentOptimizerInstance;
}
