/** State dicts and the optimizers that they are for. */

import { SGD } from "@descent/sgd";
import type { FloatArray, Parameter, ParamGroupStateDict, StateDict } from "@descent/sgd";

export const HYPER = { lr: 0.5, momentum: 0.9, dampening: 0, weight_decay: 0 };

export function named(...names: string[]): Parameter[] {
  return names.map((name) => ({ data: Float32Array.of(1, 2), grad: Float32Array.of(1, 1), name }));
}

export function unnamed(...lengths: number[]): Parameter[] {
  return lengths.map((length) => ({ data: new Float32Array(length), grad: null }));
}

export function optimizerOf(...groups: Parameter[][]): SGD {
  return new SGD(groups.map((params) => ({ params })), { lr: 0.1, momentum: 0.9 });
}

export function group(
  params: number[],
  names?: (string | null)[],
  more: object = {},
): ParamGroupStateDict {
  return { ...HYPER, ...more, params, ...(names === undefined ? {} : { param_names: names }) };
}

/** A dict whose buffer of index `i` is `[i + 1, i + 1]`. */
export function dictOf(...param_groups: ParamGroupStateDict[]): StateDict {
  const state: StateDict["state"] = {};
  for (const index of param_groups.flatMap(({ params }) => params)) {
    state[index] = { momentum_buffer: Float32Array.of(index + 1, index + 1) };
  }
  return { state, param_groups };
}

export function firstOfBuffers(optimizer: SGD): (number | null)[] {
  return [...optimizer.state.values()].map(({ momentumBuffer }) => momentumBuffer?.[0] ?? null);
}

/** All that a load may change. */
export function everything(optimizer: SGD) {
  return structuredClone({
    dict: optimizer.stateDict({ parameters: true }),
    groups: optimizer.paramGroups.map(({ params: _, ...values }) => values),
  });
}

/** An array of zeros. */
export function zeros(length: number): FloatArray {
  return new Float32Array(length);
}
