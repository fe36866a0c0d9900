/** Steps the variables of tfjs by an `SGD`, which is made when the variables are known. */

import type { Tensor } from "../core/dtype.ts";
import type { SGDOptions } from "../core/hyperparameters.ts";
import type { Parameter } from "../core/parameter.ts";
import { SGD } from "../optimizer/sgd.ts";
import type { StateDict } from "../state/dict.ts";
import type { StepOptions } from "../step/options.ts";
import type { Tf, TfTensor, TfVariable } from "./api.ts";
import { createBound } from "./bounds.ts";
import type { Pair } from "./bounds.ts";
import { checkBackend, chooseMemory } from "./choose.ts";
import type { MemoryName } from "./choose.ts";
import { hyperparametersOf } from "./config.ts";
import type { Bound, Memory } from "./memory.ts";
import { loadState } from "./weights.ts";

/** The variables of an optimizer, the memory that they are stepped in, and the `SGD`. */
export class VariableStepper {
  readonly #tf: Tf;
  readonly #memory: Memory;
  /** The backend that the memory was chosen for. */
  readonly #backend: string;
  readonly #bounds = new Map<string, Bound>();
  readonly sgd: SGD<Tensor>;

  /**
   * @param variables The variables: at least one.
   * @param saved State to resume from.
   */
  constructor(
    tf: Tf,
    memory: MemoryName,
    variables: readonly TfVariable[],
    options: SGDOptions,
    saved: StateDict | null,
  ) {
    this.#tf = tf;
    this.#memory = chooseMemory(tf, memory);
    this.#backend = tf.getBackend();
    this.sgd = this.#add(variables, (params) => {
      const sgd = new SGD<Tensor>(params, options);
      if (saved !== null) loadState(sgd, saved);
      return sgd;
    });
  }

  /** Takes a step. */
  step(pairs: readonly Pair[], options: StepOptions | undefined): void {
    checkBackend(this.#tf, this.#memory, this.#backend);
    const gradients = this.#bind(pairs);
    const bounds = [...this.#bounds.values()];
    const memory = this.#memory;
    memory.open(bounds);
    try {
      memory.readGradients(gradients);
      this.sgd.step(options);
      if (this.sgd.lastStep?.skipped !== true) memory.publish([...gradients.keys()]);
    } finally {
      for (const { parameter } of bounds) parameter.grad = null;
      memory.finish();
    }
  }

  /** Makes the data of all parameters those of their variables, as they are. */
  refresh(): void {
    if (!this.#memory.fits(this.#tf.getBackend())) return;
    this.#memory.open([...this.#bounds.values()]);
  }

  /** Leaves the variables to tfjs. */
  release(): void {
    this.#memory.release([...this.#bounds.values()]);
  }

  /** The parameters of the gradients; those of variables that are new are added. */
  #bind(pairs: readonly Pair[]): Map<Bound, TfTensor> {
    const added = pairs.map(([variable]) => variable).filter(({ name }) => !this.#bounds.has(name));
    if (added.length > 0) {
      const { momentumBits, ...first } = this.sgd.paramGroups[0];
      const options = { ...hyperparametersOf(first), momentumBits };
      this.#add(added, (params) => this.sgd.addParamGroup({ ...options, params }));
    }
    const gradients = new Map<Bound, TfTensor>();
    for (const [variable, gradient] of pairs) {
      const bound = this.#bounds.get(variable.name)!;
      bound.variable = variable;
      if (gradient !== null) gradients.set(bound, gradient);
    }
    return gradients;
  }

  /** Makes parameters of variables and gives them to the optimizer; if it throws, it is as before. */
  #add<T>(variables: readonly TfVariable[], give: (params: Parameter<Tensor>[]) => T): T {
    const bounds = variables.map(createBound);
    try {
      this.#memory.open(bounds);
      const result = give(bounds.map(({ parameter }) => parameter));
      for (const bound of bounds) this.#bounds.set(bound.variable.name, bound);
      return result;
    } catch (error) {
      this.#memory.release(bounds);
      throw error;
    }
  }
}
