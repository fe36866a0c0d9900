/** The optimizer of TensorFlow.js. */

import { checkHyperparameter } from "../core/hyperparameters.ts";
import type { SGDOptions } from "../core/hyperparameters.ts";
import { printContents } from "../core/printing.ts";
import { cannot, checkObject, checkWord, refusal } from "../core/validate.ts";
import { SGD } from "../optimizer/sgd.ts";
import type { StepOptions } from "../step/options.ts";
import type { NamedTfTensor, Tf, TfGradients, TfTensor, TfVariable } from "./api.ts";
import { readGradients, readVariables } from "./bounds.ts";
import type { MemoryName } from "./choose.ts";
import { fromConfig, hyperparametersOf, toConfig } from "./config.ts";
import type { OptimizerConfig } from "./config.ts";
import { SavedState } from "./saved_state.ts";
import { VariableStepper } from "./stepper.ts";
import type {
  DescentOptimizerConstructor,
  DescentOptimizerInstance as Contract,
  DescentOptimizerOptions,
} from "./types.ts";
import { packState, readWeights, WEIGHTS } from "./weights.ts";

const CLASS_NAME = "DescentOptimizer";

/**
 * An optimizer of TensorFlow.js that steps by `SGD`: for `minimize`, `applyGradients` and
 * `model.compile`. It does not import tfjs, but takes its module.
 *
 * @example
 * ```ts ignore
 * import * as tf from "@tensorflow/tfjs";
 * import { DescentOptimizer } from "@descent/sgd/tfjs";
 *
 * const optimizer = new DescentOptimizer(tf, { lr: 0.1, momentum: 0.9, nesterov: true });
 * model.compile({ optimizer, loss: "categoricalCrossentropy" });
 * await model.fit(xs, ys, { epochs: 5 });
 * ```
 *
 * @category TensorFlow.js
 */
export const DescentOptimizer: DescentOptimizerConstructor = class DescentOptimizer
  implements Contract {
  static readonly className = CLASS_NAME;
  readonly #tf: Tf;
  readonly #memory: MemoryName;
  readonly #options: SGDOptions;
  stepOptions: StepOptions | undefined;
  #iterations = 0;
  /** Null until the variables are known. */
  #stepper: VariableStepper | null = null;
  /** State that waits for the variables. */
  #saved: SavedState | null = null;
  /** The tensors that `getWeights` has made. */
  #lent: TfTensor[] = [];
  #isDisposed = false;
  /** Whether tfjs has made this with a model that it loaded. */
  #isLoaded = false;

  constructor(tf: Tf, options: DescentOptimizerOptions) {
    checkTf(tf);
    checkObject("create the optimizer", options);
    const { memory = "copy", variables, stepOptions, ...rest } = options;
    checkWord("memory", memory, ["copy", "view"]);
    tryOptions(rest, stepOptions);
    this.#tf = tf;
    this.#memory = memory;
    this.#options = rest;
    this.stepOptions = stepOptions;
    if (variables !== undefined) this.#start(readVariables(variables));
    printContents(this, CLASS_NAME, () => ({
      iterations: this.#iterations,
      memory: this.#memory,
      ...(this.#stepper === null ? this.#options : this.#stepper.sgd.toJSON()),
    }));
  }

  static register(tf: Tf): void {
    checkTf(tf);
    tf.serialization.registerClass({
      className: CLASS_NAME,
      fromConfig: (_class: unknown, config: object) => {
        const optimizer = DescentOptimizer.fromConfig(tf, config);
        optimizer.#isLoaded = true;
        return optimizer;
      },
    });
  }

  static fromConfig(tf: Tf, config: object): DescentOptimizer {
    checkObject("create the optimizer", config, "the configuration");
    return new DescentOptimizer(
      tf,
      fromConfig(config as OptimizerConfig) as unknown as DescentOptimizerOptions,
    );
  }

  get sgd(): SGD | null {
    if (this.#stepper === null) return null;
    this.#stepper.read();
    // Whether data are arrays or tensors of a device depends on the backend; users see arrays.
    return this.#stepper.sgd as unknown as SGD;
  }

  get iterations(): number {
    return this.#iterations;
  }

  minimize(f: () => TfTensor, returnCost = false, varList?: TfVariable[]): TfTensor | null {
    const { value, grads } = this.computeGradients(f, varList);
    try {
      this.applyGradients(
        varList === undefined || varList === null
          ? grads
          : varList.map(({ name }) => ({ name, tensor: grads[name] })),
      );
    } catch (error) {
      value.dispose();
      throw error;
    } finally {
      this.#tf.dispose(grads);
    }
    if (returnCost) return value;
    value.dispose();
    return null;
  }

  computeGradients(f: () => TfTensor, varList?: TfVariable[]) {
    return this.#tf.variableGrads(f, varList);
  }

  applyGradients(gradients: TfGradients): void {
    this.#checkUsable("apply the gradients");
    const pairs = readGradients(this.#tf, gradients);
    if (pairs.length > 0) {
      const stepper = this.#stepper ?? this.#start(pairs.map(([variable]) => variable));
      stepper.step(pairs, readStepOptions(this.stepOptions));
    }
    this.#iterations++;
  }

  assignVariables(): void {
    this.#checkUsable("assign the variables");
    this.#stepper?.assign();
  }

  setLearningRate(learningRate: number): void {
    checkHyperparameter("lr", learningRate);
    this.#options.lr = learningRate;
    this.#stepper?.setLearningRate(learningRate);
    this.#saved?.setLearningRate(learningRate);
  }

  async saveIterations(): Promise<NamedTfTensor> {
    const tensor = this.#tf.tensor(new Int32Array([this.#iterations]), [], "int32");
    return await Promise.resolve({ name: WEIGHTS.iterations, tensor });
  }

  async getWeights(): Promise<NamedTfTensor[]> {
    this.#checkUsable("get the weights");
    const weights = [await this.saveIterations()];
    const dict = this.#stepper === null ? this.#saved?.dict : await this.#stepper.takeState();
    if (dict !== undefined) {
      const packed = packState(dict);
      const tensor = this.#tf.tensor(packed, [packed.length], "int32");
      weights.push({ name: WEIGHTS.state, tensor });
    }
    this.#lend(weights.map(({ tensor }) => tensor));
    return weights;
  }

  async setWeights(weights: readonly NamedTfTensor[]): Promise<void> {
    this.#checkUsable("set the weights");
    const { iterations, state } = await readWeights(weights);
    const saved = state === null ? null : new SavedState(state, this.#isLoaded);
    if (this.#stepper === null) this.#saved = saved;
    else this.#stepper.loadState(saved);
    this.#iterations = iterations;
  }

  getConfig(): OptimizerConfig {
    const group = this.#stepper?.sgd.paramGroups[0];
    const current = group === undefined ? {} : hyperparametersOf(group);
    const own = { memory: this.#memory, stepOptions: this.stepOptions };
    return toConfig({ ...this.#options, ...current, ...own });
  }

  getClassName(): string {
    return CLASS_NAME;
  }

  dispose(): void {
    this.#isDisposed = true;
    this.#stepper?.release();
    this.#stepper = this.#saved = null;
    this.#lend([]);
  }

  #start(variables: readonly TfVariable[]): VariableStepper {
    const saved = this.#saved;
    this.#stepper = new VariableStepper(this.#tf, this.#memory, variables, this.#options, saved);
    this.#saved = null;
    return this.#stepper;
  }

  /** tfjs does not dispose what it saves, so the optimizer does, when it is asked again. */
  #lend(tensors: TfTensor[]): void {
    this.#tf.dispose(this.#lent);
    this.#lent = tensors.map((tensor) => this.#tf.keep(tensor));
  }

  #checkUsable(doing: string): void {
    if (this.#isDisposed) throw new Error(cannot(doing, "the optimizer has been disposed"));
  }
} as unknown as DescentOptimizerConstructor;

function checkTf(tf: unknown): asserts tf is Tf {
  const { variableGrads, engine, serialization } = (tf ?? {}) as Partial<Tf>;
  if (
    typeof variableGrads === "function" && typeof engine === "function" &&
    serialization !== undefined
  ) return;
  const reason = "tf must be the module of tfjs";
  throw new TypeError(
    cannot("create the optimizer", reason, 'import * as tf from "@tensorflow/tfjs"'),
  );
}

/** Checks options by an optimizer that steps nothing. */
function tryOptions(options: SGDOptions, stepOptions: StepOptions | undefined): void {
  const sgd = new SGD([{ data: new Float32Array(1), grad: null }], options);
  if (stepOptions === undefined) return;
  readStepOptions(stepOptions);
  // An option that is an object may be about the variables, so that the first step has to check it.
  const simple = Object.entries(stepOptions).filter(([, value]) => typeof value !== "object");
  sgd.step(Object.fromEntries(simple));
}

/** The options of a step, which must not write to gradients: they are memory of tfjs. */
function readStepOptions(options: StepOptions | undefined): StepOptions | undefined {
  if (options === undefined) return undefined;
  checkObject("set stepOptions", options, "it");
  if (options.zeroGrad !== true) return options;
  const reason = "tfjs computes new gradients for every step";
  throw new TypeError(refusal("set zeroGrad in stepOptions", reason, true));
}

/**
 * The type of an optimizer. `DescentOptimizer<tf.Optimizer>` is also one of tfjs's own types, which
 * `model.compile` asks for.
 *
 * @category TensorFlow.js
 */
export type DescentOptimizer<Base = unknown> = Base & Contract;
