/** The state of an optimizer as weights, which tfjs saves with a model. */

import { decodeStateDict, encodeStateDict } from "../checkpoint/encoding.ts";
import type { Tensor } from "../core/dtype.ts";
import { checkArray, describe, refusal } from "../core/validate.ts";
import type { SGD } from "../optimizer/sgd.ts";
import type { ParamGroupStateDict, StateDict } from "../state/dict.ts";
import type { NamedTfTensor } from "./api.ts";

/** The names of the weights: the number of steps, as tfjs's own optimizers have it, and the state. */
export const WEIGHTS = { iterations: "iter", state: "descent/state" } as const;

/** A state dict as integers, of which tfjs has tensors: the number of bytes, and the bytes. */
export function packState(dict: StateDict): Int32Array {
  const bytes = encodeStateDict(dict);
  const packed = new Int32Array(1 + Math.ceil(bytes.length / 4));
  packed[0] = bytes.length;
  new Uint8Array(packed.buffer, 4).set(bytes);
  return packed;
}

/** The state dict that `packState` packed. */
export function unpackState(packed: Int32Array): StateDict {
  return decodeStateDict(new Uint8Array(packed.buffer, packed.byteOffset + 4, packed[0]).slice());
}

/** What weights hold. */
export interface Weights {
  readonly iterations: number;
  /** Null if the optimizer had not stepped. */
  readonly state: StateDict | null;
}

/**
 * Reads weights.
 *
 * @throws {TypeError} If they are not those of a `DescentOptimizer`.
 */
export async function readWeights(weights: readonly NamedTfTensor[]): Promise<Weights> {
  checkArray("set the weights", weights, "they");
  const [first, second, ...rest] = weights;
  if (first?.name !== WEIGHTS.iterations || rest.length > 0) throw weightsError(weights);
  const [iterations] = await dataOf(first);
  if (second === undefined) return { iterations, state: null };
  if (second.name !== WEIGHTS.state) throw weightsError(weights);
  return { iterations, state: unpackState(await dataOf(second)) };
}

/** The values of a tensor of integers, which on a GPU can only be waited for. */
async function dataOf({ tensor }: NamedTfTensor): Promise<Int32Array> {
  return await (tensor as unknown as { data(): Promise<Int32Array> }).data();
}

function weightsError(weights: readonly NamedTfTensor[]): TypeError {
  const names = weights.slice(0, 3).map(({ name }) => describe(name)).join(", ");
  const reason = "they must be those of a DescentOptimizer";
  return new TypeError(refusal("set the weights", reason, `[${names}]`, "names"));
}

/**
 * Loads state into an optimizer. Hyperparameters stay those of the optimizer.
 *
 * @param saved The state; null is that of an optimizer that has not stepped.
 * @throws {RangeError} If the state is that of other parameters.
 */
export function loadState(sgd: SGD<Tensor>, saved: StateDict | null): void {
  const groups = describeGroups(sgd);
  if (saved === null) {
    sgd.loadStateDict({ state: {}, param_groups: groups });
    return;
  }
  const [own, others] = [groups, saved.param_groups].map(namesOf);
  if (own.length !== others.length) {
    const reason = `it must be of ${own.length} variables, like the optimizer`;
    throw new RangeError(refusal("load the state", reason, others.length, "number"));
  }
  const places = matchNames(own, others);
  const state = Object.fromEntries(
    places.map((place, i) => [i, saved.state[place]]).filter(([, value]) => value !== undefined),
  );
  const isAlike = groups.length === saved.param_groups.length;
  const param_groups = groups.map((group, i) => {
    const { initial_lr } = isAlike ? saved.param_groups[i] : group;
    return initial_lr === undefined ? group : { ...group, initial_lr };
  });
  sgd.loadStateDict({ ...saved, state, param_groups });
}

function namesOf(groups: readonly ParamGroupStateDict[]): string[] {
  return groups.flatMap(({ params, param_names }) => params.map((_, i) => param_names?.[i] ?? ""));
}

/**
 * Finds saved variables: by their names; else by their names without the numbers that tfjs appends when
 * it loads a model beside others; else by their order.
 *
 * @returns For each variable its index among those that were saved.
 */
function matchNames(own: readonly string[], saved: readonly string[]): number[] {
  for (const suffix of [/$/, /_\d+$/]) {
    const [keys, savedKeys] = [own, saved].map((list) => list.map((it) => it.replace(suffix, "")));
    const places = new Map(savedKeys.map((key, i) => [key, i]));
    const found = keys.map((key) => places.get(key));
    if (new Set(found).size === own.length && !found.includes(undefined)) return found as number[];
  }
  return own.map((_, i) => i);
}

/** The groups of an optimizer as a state dict has them. */
function describeGroups({ paramGroups }: SGD<Tensor>): ParamGroupStateDict[] {
  let next = 0;
  return paramGroups.map((
    { params, weightDecay, decoupledWeightDecay, momentumBits, ...rest },
  ) => ({
    ...rest,
    weight_decay: weightDecay,
    decoupled_weight_decay: decoupledWeightDecay,
    ...(momentumBits === 8 ? { momentum_bits: 8 } : {}),
    params: params.map(() => next++),
    param_names: params.map(({ name }) => name ?? null),
  }));
}
