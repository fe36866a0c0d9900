/** The map from parameters to their state, which the optimizer alone fills. */

import type { Tensor } from "../core/dtype.ts";
import type { Parameter } from "../core/parameter.ts";
import { cannot } from "../core/validate.ts";
import type { ParameterState } from "../plan/parameter_state.ts";

/** What the optimizer remembers of each parameter. */
export type StateMap = Map<Parameter<Tensor>, ParameterState>;

/** What users call to change a map, and what does here what they mean. */
const REFUSED: Readonly<Record<string, readonly [doing: string, instead: string]>> = {
  clear: ["clear the state", "resetState() makes the next step a first one"],
  delete: ["delete an entry of the state", "removeParamGroup() removes parameters"],
  set: ["set an entry of the state", "assign to the members of the entry, such as momentumBuffer"],
  getOrInsert: ["insert into the state", "get() reads an entry"],
  getOrInsertComputed: ["insert into the state", "get() reads an entry"],
};

const { clear, set } = Map.prototype;

/** An empty map that refuses to be changed by others. */
export function createStateMap(): StateMap {
  const map: StateMap = new Map();
  for (const [name, [doing, instead]] of Object.entries(REFUSED)) {
    const value = () => {
      throw new TypeError(cannot(doing, "it has one entry for each parameter", instead));
    };
    Object.defineProperty(map, name, { value });
  }
  return map;
}

/** Brings a map up to date: it has the states of the parameters, in order. */
export function fillStateMap(
  map: StateMap,
  parameters: readonly Parameter<Tensor>[],
  states: readonly ParameterState[],
): void {
  // Added parameters come after the others, so that a loop over the map can add groups.
  const isInOrder = [...map.keys()].every((parameter, row) => parameter === parameters[row]);
  if (!isInOrder) Reflect.apply(clear, map, []);
  for (const [row, parameter] of parameters.entries()) {
    Reflect.apply(set, map, [parameter, states[row]]);
  }
}
