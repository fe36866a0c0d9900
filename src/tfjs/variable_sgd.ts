/** The `SGD` of variables of tfjs. */

import type { Tensor } from "../core/dtype.ts";
import type { SGDOptions } from "../core/hyperparameters.ts";
import { SGD } from "../optimizer/sgd.ts";
import type { ParamGroupOptions } from "../optimizer/param_groups.ts";
import type { LoadStateDictOptions, LoadStateDictReport } from "../state/apply.ts";
import type { StateDict } from "../state/dict.ts";
import { registerStateSource, stateSourceOf } from "../state/source.ts";
import type { StateDictOptions } from "../state/take.ts";

/** The variables behind the parameters of an optimizer. */
export interface Variables {
  /** Makes the data of parameters those of their variables. */
  read(): void;
  /** Makes the data of parameters those of their variables, the other way round. */
  assign(): void;
}

/**
 * An optimizer whose parameters stand for variables. What it saves of them are the variables as they are,
 * and what it loads into them is assigned to the variables.
 */
export class VariableSGD extends SGD<Tensor> {
  readonly #variables: Variables;

  constructor(
    groups: Iterable<ParamGroupOptions<Tensor>>,
    options: SGDOptions,
    variables: Variables,
  ) {
    super(groups, options);
    this.#variables = variables;
    const source = stateSourceOf(this)!;
    registerStateSource(this, {
      ...source,
      dict(options, hasState) {
        variables.read();
        return source.dict(options, hasState);
      },
    });
  }

  override stateDict(options?: StateDictOptions): StateDict {
    this.#variables.read();
    return super.stateDict(options);
  }

  override async stateDictAsync(options?: StateDictOptions): Promise<StateDict> {
    this.#variables.read();
    return await super.stateDictAsync(options);
  }

  override loadStateDict(dict: StateDict, options?: LoadStateDictOptions): LoadStateDictReport {
    this.#variables.read();
    const report = super.loadStateDict(dict, options);
    if (options?.parameters === true) this.#variables.assign();
    return report;
  }
}
