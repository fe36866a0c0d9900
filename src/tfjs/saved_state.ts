/** State that was saved, and waits for the variables that it belongs to. */

import type { Tensor } from "../core/dtype.ts";
import { HYPERPARAMETERS } from "../core/hyperparameters.ts";
import type { GroupOptions, ParamGroup } from "../core/hyperparameters.ts";
import { refusal } from "../core/validate.ts";
import type { SGD } from "../optimizer/sgd.ts";
import { KEYS } from "../state/dict.ts";
import type { ParameterStateDict, ParamGroupStateDict, StateDict } from "../state/dict.ts";
import { groupDict } from "../state/take.ts";
import { countFound, matchNames } from "./match_names.ts";
import type { Places } from "./match_names.ts";

/** What was saved of a variable. */
interface Entry {
  readonly name: string;
  /** The index of its group. */
  readonly group: number;
  /** Undefined if it had none. */
  readonly state: ParameterStateDict | undefined;
}

/** What was saved of some variables, in their order; null for those that are new. */
type Entries = readonly (Entry | null)[];

/** Members of a group, with what was saved of them and the options in which the group differs. */
export interface Division<T> {
  readonly members: readonly T[];
  readonly entries: Entries;
  readonly options: GroupOptions;
}

/** A state dict whose variables come at different times, as layers are frozen and unfrozen. */
export class SavedState {
  readonly #dict: StateDict;
  readonly #groups: readonly ParamGroupStateDict[];
  /** What no variable has been found for. */
  #waiting: readonly Entry[];
  readonly #isNamed: boolean;
  /** The saved group whose options the optimizer's first group has. */
  #first = 0;

  /** @param isNamed Whether the variables are those of the saved model, so that names alone count. */
  constructor(dict: StateDict, isNamed: boolean) {
    this.#dict = dict;
    this.#isNamed = isNamed;
    this.#groups = dict.param_groups.map((group) => ({ ...group }));
    this.#waiting = this.#groups.flatMap(({ params, param_names }, group) =>
      params.map((id, i) => ({ name: param_names?.[i] ?? "", group, state: dict.state[id] }))
    );
  }

  /** The whole state, before any variable has been found. */
  get dict(): StateDict {
    return { ...this.#dict, param_groups: [...this.#groups] };
  }

  /** Sets the learning rate of all groups. */
  setLearningRate(lr: number): void {
    for (const group of this.#groups) group.lr = lr;
  }

  /**
   * Finds what was saved of the first variables of an optimizer. By their names some may be missing on
   * one side, as layers are frozen and unfrozen; where names do not match, the order does, unless names
   * alone count.
   *
   * @throws {RangeError} If it is the state of other variables.
   */
  findFirst(names: readonly string[]): Entries {
    const waiting = this.#waiting;
    const places = this.#match(names);
    const isWhole = [names.length, waiting.length].includes(countFound(places));
    if (this.#isNamed || isWhole) return this.#at(places);
    if (names.length === waiting.length) return waiting;
    const reason = `it must be of ${names.length} variables, like the optimizer`;
    throw new RangeError(refusal("load the state", reason, waiting.length, "number"));
  }

  /** Finds what was saved of variables that come later, by their names. */
  findLater(names: readonly string[]): Entries {
    return this.#at(this.#match(names));
  }

  #match(names: readonly string[]): Places {
    return matchNames(names, this.#waiting.map(({ name }) => name));
  }

  #at(places: Places): Entries {
    return places.map((place) => place === null ? null : this.#waiting[place]);
  }

  /** Tells that variables have got what was found for them. */
  remove(entries: Entries): void {
    this.#waiting = this.#waiting.filter((entry) => !entries.includes(entry));
  }

  /** Divides variables by the groups that they were in. New ones go to the first. */
  divide<T>(members: readonly T[], entries: Entries): Division<T>[] {
    const groupOf = (i: number) => entries[i]?.group ?? 0;
    const groups = [...new Set(members.map((_, i) => groupOf(i)))].sort((a, b) => a - b);
    return groups.map((group) => ({
      members: members.filter((_, i) => groupOf(i) === group),
      entries: entries.filter((_, i) => groupOf(i) === group),
      options: this.#differencesOf(group),
    }));
  }

  /** The hyperparameters in which a group was unlike that which is the first of the optimizer. */
  #differencesOf(group: number): GroupOptions {
    const [first, own] = [this.#groups[this.#first], this.#groups[group]];
    const differing = HYPERPARAMETERS.map((name) => [name, own[KEYS[name]]] as const)
      .filter(([name, value]) => value !== undefined && value !== first[KEYS[name]]);
    return Object.fromEntries(differing) as GroupOptions;
  }

  /**
   * Loads what was found for all variables of an optimizer, whose hyperparameters stay.
   *
   * @param entries In the order of its parameters.
   * @throws {RangeError} If it does not fit.
   */
  load(sgd: SGD<Tensor>, entries: Entries): void {
    const param_groups = describeGroups(sgd.paramGroups).map((group) => {
      const [entry] = group.params.flatMap((i) => entries[i] ?? []);
      const initial_lr = entry && this.#groups[entry.group].initial_lr;
      return initial_lr === undefined ? group : { ...group, initial_lr };
    });
    sgd.loadStateDict({ ...this.#dict, state: stateOf(entries), param_groups });
    this.#first = entries[0]?.group ?? 0;
  }

  /** A dict of an optimizer, with what still waits in further groups. */
  complete(dict: StateDict): StateDict {
    let next = dict.param_groups.reduce((count, { params }) => count + params.length, 0);
    const state = { ...dict.state };
    const waiting = this.divide(this.#waiting, this.#waiting).map(({ members }) => {
      const params = members.map(({ state: saved }) => {
        if (saved !== undefined) state[next] = saved;
        return next++;
      });
      const param_names = members.map(({ name }) => name);
      return { ...this.#groups[members[0].group], params, param_names };
    });
    return { ...dict, state, param_groups: [...dict.param_groups, ...waiting] };
  }
}

/**
 * Loads what was found for the last group of an optimizer.
 *
 * @throws {RangeError} If it does not fit.
 */
export function loadLastGroup(sgd: SGD<Tensor>, entries: Entries): void {
  const state = stateOf(entries);
  if (Object.keys(state).length === 0) return;
  const param_groups = describeGroups(sgd.paramGroups.slice(-1));
  const { mismatched } = sgd.loadStateDict({ state, param_groups }, { strict: false });
  if (mismatched.length === 0) return;
  const reason = "variables must be like those that were saved";
  throw new RangeError(refusal("load the state", reason, mismatched.join(", "), "variables"));
}

/** Forgets the state of an optimizer. */
export function clearState(sgd: SGD<Tensor>): void {
  sgd.loadStateDict({ state: {}, param_groups: describeGroups(sgd.paramGroups) });
}

function stateOf(entries: Entries): Record<string, ParameterStateDict> {
  return Object.fromEntries(
    entries.flatMap((entry, i) => entry?.state === undefined ? [] : [[i, entry.state]]),
  );
}

/** Groups as a state dict has them. */
function describeGroups(groups: readonly ParamGroup<Tensor>[]): ParamGroupStateDict[] {
  let next = 0;
  return groups.map((group) => {
    const first = next;
    next += group.params.length;
    return groupDict(group, first, group.params.map(({ name }) => name));
  });
}
