/** Steps the variables of tfjs by an `SGD`, which is made when the variables are known. */

import type { Tensor } from "../core/dtype.ts";
import type { SGDOptions } from "../core/hyperparameters.ts";
import type { Parameter } from "../core/parameter.ts";
import type { SGD } from "../optimizer/sgd.ts";
import type { StateDict } from "../state/dict.ts";
import type { StepOptions } from "../step/options.ts";
import type { Tf, TfTensor, TfVariable } from "./api.ts";
import { createBound } from "./bounds.ts";
import type { Pair } from "./bounds.ts";
import { checkBackend, chooseMemory } from "./choose.ts";
import type { MemoryName } from "./choose.ts";
import { hyperparametersOf } from "./config.ts";
import type { Bound, Memory } from "./memory.ts";
import { clearState, loadLastGroup } from "./saved_state.ts";
import type { SavedState } from "./saved_state.ts";
import { VariableSGD } from "./variable_sgd.ts";

/** The variables of an optimizer, the memory that they are stepped in, and the `SGD`. */
export class VariableStepper {
  readonly #tf: Tf;
  readonly #memory: Memory;
  /** The backend that the memory was chosen for. */
  readonly #backend: string;
  readonly #bounds = new Map<string, Bound>();
  readonly sgd: SGD<Tensor>;
  /** State of variables that have not come yet. */
  #saved: SavedState | null;

  /**
   * @param variables The variables: at least one.
   * @param saved State to resume from.
   */
  constructor(
    tf: Tf,
    memory: MemoryName,
    variables: readonly TfVariable[],
    options: SGDOptions,
    saved: SavedState | null,
  ) {
    this.#tf = tf;
    this.#memory = chooseMemory(tf, memory);
    this.#backend = tf.getBackend();
    const entries = saved?.findFirst(variables.map(({ name }) => name)) ?? [];
    this.sgd = this.#add(variables, (params) => {
      if (saved === null) return this.#createSGD([{ params }], options);
      const groups = saved.divide(params, entries);
      const sgd = this.#createSGD(
        groups.map(({ members, options }) => ({ ...options, params: members })),
        options,
      );
      saved.load(sgd, groups.flatMap((group) => group.entries));
      return sgd;
    });
    saved?.remove(entries);
    this.#saved = saved;
  }

  #createSGD(
    groups: ConstructorParameters<typeof VariableSGD>[0],
    options: SGDOptions,
  ): VariableSGD {
    const variables = { read: () => this.read(), assign: () => this.assign() };
    return new VariableSGD(groups, options, variables);
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
  read(): void {
    if (!this.#memory.fits(this.#tf.getBackend())) return;
    this.#memory.open([...this.#bounds.values()]);
  }

  /** Assigns the data of parameters to their variables, but for those that have been assigned since. */
  assign(): void {
    checkBackend(this.#tf, this.#memory, this.#backend);
    const isCurrent = ({ variable, dataId }: Bound) =>
      !variable.isDisposed && variable.dataId === dataId;
    this.#memory.publish([...this.#bounds.values()].filter(isCurrent));
    this.#memory.finish();
  }

  /** Sets the learning rate of all groups, also of those that have no variable yet. */
  setLearningRate(lr: number): void {
    for (const group of this.sgd.paramGroups) group.lr = lr;
    this.#saved?.setLearningRate(lr);
  }

  /** The state, with that of variables that have not come yet. */
  async takeState(): Promise<StateDict> {
    const dict = await this.sgd.stateDictAsync();
    return this.#saved?.complete(dict) ?? dict;
  }

  /** Resumes from state, or from none. Hyperparameters stay. */
  loadState(saved: SavedState | null): void {
    if (saved === null) {
      clearState(this.sgd);
    } else {
      const params = this.sgd.paramGroups.flatMap((group) => group.params);
      const entries = saved.findFirst(params.map(({ name }) => name!));
      saved.load(this.sgd, entries);
      saved.remove(entries);
    }
    this.#saved = saved;
  }

  /** Leaves the variables to tfjs. */
  release(): void {
    this.#memory.release([...this.#bounds.values()]);
  }

  /** The parameters of the gradients; those of variables that are new are added. */
  #bind(pairs: readonly Pair[]): Map<Bound, TfTensor> {
    const added = pairs.map(([variable]) => variable).filter(({ name }) => !this.#bounds.has(name));
    if (added.length > 0) this.#addLater(added);
    const gradients = new Map<Bound, TfTensor>();
    for (const [variable, gradient] of pairs) {
      const bound = this.#bounds.get(variable.name)!;
      bound.variable = variable;
      if (gradient !== null) gradients.set(bound, gradient);
    }
    return gradients;
  }

  /** Adds variables with the options of the first group, or where they were saved in a group, like it. */
  #addLater(variables: readonly TfVariable[]): void {
    const saved = this.#saved;
    const { momentumBits, ...first } = this.sgd.paramGroups[0];
    const shared = { ...hyperparametersOf(first), momentumBits };
    const add = (members: readonly TfVariable[], options: object) =>
      this.#add(members, (params) => this.sgd.addParamGroup({ ...shared, ...options, params }));
    if (saved === null) return add(variables, {});
    const entries = saved.findLater(variables.map(({ name }) => name));
    for (const { members, entries: own, options } of saved.divide(variables, entries)) {
      add(members, options);
      loadLastGroup(this.sgd, own);
      saved.remove(own);
    }
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
