/** Optimizers that keep their state in fewer bits, and what their state stands for. */

import { BFloat16Array, SGD } from "@descent/sgd";
import type { HostArray, Parameter, SGDOptions, StateDict } from "@descent/sgd";

/** More than the fewest elements whose momentum is kept in 8 bits, and no multiple of a block. */
export const LENGTH = 4099;

export type Dtype = "float32" | "float64" | "bfloat16";

/** Two parameters, of which the second is too small for momentum in 8 bits. */
export function paramsOf(dtype: Dtype, lengths: readonly number[] = [LENGTH, 5]) {
  return lengths.map((length, i): Parameter<HostArray> => ({
    data: arrayOf(dtype, length, (k) => Math.sin(k + i + 1)),
    grad: arrayOf(dtype, length, (k) => Math.cos(3 * k - i)),
    name: `w${i}`,
  }));
}

/** An optimizer after some steps. */
export function trained(
  dtype: Dtype,
  options: Partial<SGDOptions> = {},
  { steps = 3, params = paramsOf(dtype) } = {},
) {
  const all = { lr: 0.1, momentum: 0.9, backend: "js", ...options } as const;
  const optimizer = new SGD<HostArray>(params, all);
  for (let i = 0; i < steps; i++) optimizer.step();
  return { params, optimizer };
}

/** What momentum in 8 bits stands for. */
export function decoded(entry: StateDict["state"][string]): number[] {
  const scales = entry.momentum_scales!;
  return Array.from(entry.momentum8!, (code, i) => {
    return code === -128 ? NaN : code * 2 ** (scales[i >> 5] - 127);
  });
}

/** The bits of the master weights of a parameter in bfloat16. */
export function mastersOf(optimizer: SGD<HostArray>, parameter: Parameter<HostArray>): number[] {
  const { masterWeight, correction } = optimizer.state.get(parameter)!;
  if (masterWeight !== null) return [...new Uint32Array(masterWeight.slice().buffer)];
  const upper = parameter.data as BFloat16Array;
  const shift = correction instanceof Int8Array ? 8 : 0;
  return Array.from(correction!, (low, i) => (upper[i] << 16) + (low << shift) >>> 0);
}

function arrayOf(dtype: Dtype, length: number, of: (k: number) => number): HostArray {
  const values = Array.from({ length }, (_, k) => of(k));
  if (dtype === "bfloat16") return BFloat16Array.from(values);
  return dtype === "float64" ? Float64Array.from(values) : Float32Array.from(values);
}
