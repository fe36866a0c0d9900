/** The class `SGD`: parameter groups, their state, and the step. */

import { chooseBackend } from "./backends/choose.ts";
import type { Backend } from "./backends/backend.ts";
import { createGroup } from "./group.ts";
import type { ParamGroup, ParamGroupOptions } from "./group.ts";
import { checkKeys, resolve } from "./options.ts";
import type { BackendName, GroupOptions, SGDOptions } from "./options.ts";
import { checkParameter, describe, label } from "./parameter.ts";
import type { FloatArray, Parameter, SparseParameter } from "./parameter.ts";
import { Written } from "./overlap.ts";
import { Plan } from "./plan.ts";
import type { ParameterState } from "./plan.ts";
import { isSparse, withoutEntries } from "./sparse.ts";

/**
 * Stochastic gradient descent with momentum: `torch.optim.SGD`, bit for bit, in one native pass.
 *
 * For each element, with `g` the gradient (negated by `maximize`), `p` the parameter and `b` the
 * momentum buffer:
 *
 * ```text
 * g <- g + weightDecay * p
 * b <- momentum * b + (1 - dampening) * g     (b <- g at a parameter's first step)
 * u <- nesterov ? g + momentum * b : b        (u <- g without momentum)
 * u <- sign ? sign(u) : u
 * p <- p - lr * u
 * ```
 *
 * @example
 * ```ts
 * import { SGD } from "@descent/sgd";
 *
 * const w = { data: new Float32Array([1, 2]), grad: new Float32Array([0.5, -0.5]), name: "w" };
 * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
 * optimizer.step();
 * console.log(w.data); // Float32Array(2) [ 0.95, 2.05 ]
 * ```
 */
export class SGD {
  readonly #backend: Backend;
  readonly #defaults: GroupOptions;
  readonly #plan: Plan;
  readonly #state = new Map<Parameter, ParameterState>();
  #groups: readonly ParamGroup[] = Object.freeze([]);

  /**
   * Makes an optimizer; no parameter changes before the first step.
   *
   * @param params Parameters, or groups `{ params, lr?, momentum?, ... }`, not both.
   * @param options Options that hold where a group has none of its own, and the backend.
   * @throws {TypeError} If there are no parameters, lr is missing, or something is of another type.
   * @throws {RangeError} If a hyperparameter is out of range, or parameters repeat or overlap.
   * @throws {Error} If backend `"cpu"` is asked for and cannot be had; the message says what to do.
   */
  constructor(
    params: Iterable<Parameter | SparseParameter> | Iterable<ParamGroupOptions>,
    options: SGDOptions,
  ) {
    if (typeof options !== "object" || options === null) {
      throw new TypeError(
        `Cannot create the optimizer as options must be an object: current value is ${
          describe(options)
        }`,
      );
    }
    checkKeys(options, ["backend"]);
    const { backend, ...defaults } = options;
    const groups = toGroups(params);
    this.#defaults = defaults;
    this.#backend = chooseBackend(backend);
    this.#plan = new Plan(this.#backend.address);
    for (const group of groups) this.addParamGroup(group);
  }

  /** The backend that runs the steps. */
  get backend(): BackendName {
    return this.#backend.name;
  }

  /** The groups, in order. Their hyperparameters can be assigned between steps. */
  get paramGroups(): readonly ParamGroup[] {
    return this.#groups;
  }

  /** What the optimizer remembers of each parameter, in the order of the groups. */
  get state(): ReadonlyMap<
    Parameter | SparseParameter,
    { readonly momentumBuffer: FloatArray | null }
  > {
    return this.#state;
  }

  /**
   * Adds a group, for example a layer that is trained from now on.
   *
   * @param group Its parameters and the options in which it differs.
   * @throws {TypeError} If it has no parameters, or something is of another type.
   * @throws {RangeError} If a hyperparameter is out of range, a parameter is here already or overlaps
   * another.
   */
  addParamGroup(group: ParamGroupOptions): void {
    if (typeof group !== "object" || group === null) {
      throw new TypeError(`Cannot add a group as it must be an object: it is ${describe(group)}`);
    }
    checkKeys(group, ["params"]);
    const hyperparameters = resolve(group, this.#defaults);
    const params = this.#checkMembers(toArray(group.params, "params of the group"));
    const added = createGroup(params, hyperparameters);
    const members = params.map((parameter) => ({ parameter, state: { momentumBuffer: null } }));
    this.#plan.add(added, members);
    for (const { parameter, state } of members) this.#state.set(parameter, state);
    this.#groups = Object.freeze([...this.#groups, added]);
  }

  /**
   * Updates every parameter that has a gradient, in place. Everything is checked before the first
   * write: if this throws, no parameter and no state has changed.
   *
   * @param closure Called first; computes the gradients and returns the loss.
   * @returns What the closure returned.
   * @throws {TypeError} If an array is missing, of another type, detached or resizable.
   * @throws {RangeError} If lengths differ, arrays overlap or hyperparameters do not fit together.
   */
  step<Loss = undefined>(closure?: () => Loss): Loss;
  step(closure?: () => unknown): unknown {
    const loss = closure === undefined ? undefined : closure();
    this.#plan.refresh();
    this.#stepRows();
    this.#plan.commit();
    return loss;
  }

  /**
   * Fills every gradient with zeros; a sparse one is replaced by one without entries.
   *
   * @param options With `setToNull`, sets `grad` to null instead: a parameter that gets no new
   * gradient is then skipped by the next step, while a zero gradient still decays and carries
   * momentum.
   */
  zeroGrad({ setToNull = false }: { setToNull?: boolean } = {}): void {
    for (const parameter of this.#state.keys()) {
      if (setToNull) parameter.grad = null;
      else if (isSparse(parameter.grad)) {
        (parameter as SparseParameter).grad = withoutEntries(parameter.grad);
      } else parameter.grad?.fill(0);
    }
  }

  #checkMembers(params: readonly unknown[]): Parameter[] {
    const seen = new Set<Parameter>();
    for (const [i, parameter] of params.entries()) {
      const index = this.#state.size + i;
      checkParameter(parameter, index);
      if (seen.has(parameter) || this.#state.has(parameter)) {
        throw new RangeError(
          `Cannot add ${label(parameter, index)} as it must be in one group only, once`,
        );
      }
      seen.add(parameter);
    }
    new Written([...this.#state.keys(), ...seen].map((parameter, i) => {
      const start = this.#backend.address(parameter.data);
      const end = start + parameter.data.byteLength;
      return { start, end, what: `data of ${label(parameter, i)}` };
    }));
    return [...seen];
  }

  /** Groups in a row that step together (foreach) are one call, the others one per tensor. */
  #stepRows(): void {
    const groups = this.#groups;
    let from = 0;
    let to = 0;
    for (let i = 0; i < groups.length; i++) {
      to += groups[i].params.length;
      const together = groups[i].foreach !== false;
      if (together && groups[i + 1]?.foreach !== false && i + 1 < groups.length) continue;
      const each = together ? to - from : 1;
      for (; from < to; from += each) this.#backend.step(this.#plan, from, from + each);
    }
  }
}

function toGroups(params: unknown): ParamGroupOptions[] {
  const members = toArray(params, "params");
  const areGroups = members.map((member) =>
    typeof member === "object" && member !== null && "params" in member
  );
  if (areGroups.every((isGroup) => isGroup)) return members as ParamGroupOptions[];
  if (areGroups.some((isGroup) => isGroup)) {
    throw new TypeError("Cannot use params as it must hold parameters or groups, not both");
  }
  return [{ params: members as Parameter[] }];
}

function toArray(value: unknown, what: string): unknown[] {
  const iterable = value as Iterable<unknown> | null | undefined;
  if (typeof iterable !== "object" || typeof iterable?.[Symbol.iterator] !== "function") {
    throw new TypeError(
      `Cannot use ${what} as it must be iterable: current value is ${describe(value)}`,
    );
  }
  const array = [...iterable];
  if (array.length === 0) {
    throw new TypeError(`Cannot use ${what} as it must hold at least one parameter: it is empty`);
  }
  return array;
}
