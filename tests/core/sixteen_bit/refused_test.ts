/** What 16-bit parameters do not go with. */

import { assertThrows } from "@std/assert";
import { BFloat16Array, SGD, sgd, sgdVjp } from "@descent/sgd";
import type { FloatArray, HostArray, SparseParameter } from "@descent/sgd";

const OFF = { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false };
const half = () => BFloat16Array.of(1, 2);

/** What is done, and the type and a part of the error. */
const REFUSED: Record<string, [() => void, typeof TypeError | typeof RangeError, string]> = {
  "an unknown rounding": [
    () => new SGD([{ data: half(), grad: null }], { lr: 1, rounding: "up" as "torch" }),
    TypeError,
    'Cannot set rounding as it must be "nearest", "stochastic" or "torch": current value is "up"',
  ],
  "masterWeights that is no boolean": [
    () =>
      new SGD([{ data: half(), grad: null }], { lr: 1, masterWeights: 1 as unknown as boolean }),
    TypeError,
    'Cannot set masterWeights as it must be true, false, "split" or "split24": current value is 1',
  ],
  "master weights with torch's rounding": [
    () =>
      new SGD([{ data: half(), grad: null }], { lr: 1, masterWeights: true, rounding: "torch" }),
    RangeError,
    'Cannot set masterWeights as it needs rounding "nearest" or "stochastic": current value is "torch"',
  ],
  "a seed that is no number": [
    () => new SGD([{ data: half(), grad: null }], { lr: 1, seed: "1" as unknown as number }),
    TypeError,
    'Cannot set seed as it must be a number: current value is "1"',
  ],
  "a negative seed": [
    () => new SGD([{ data: half(), grad: null }], { lr: 1, seed: -1 }),
    RangeError,
    "Cannot set seed as it must be a whole number from 0 to 2^53 - 1: current value is -1",
  ],
  "a seed of 2^53": [
    () => new SGD([{ data: half(), grad: null }], { lr: 1, seed: 2 ** 53 }),
    RangeError,
    "from 0 to 2^53 - 1",
  ],
  "a counter of a half": [
    () => sgd([half()], [half()], [null], { lr: 1, ...OFF, counter: 0.5 }),
    RangeError,
    "Cannot set counter as it must be a whole number",
  ],
  "an array of bit patterns without its class": [
    () => new SGD([{ data: new Uint16Array(2) as unknown as FloatArray, grad: null }], { lr: 1 }),
    TypeError,
    "a BFloat16Array, a GpuTensor or a WebGpuTensor: current value is of type Uint16Array",
  ],
  "a gradient of the other 16-bit type": [
    () => {
      const grad: HostArray = new Float16Array(2);
      new SGD<HostArray>([{ data: half(), grad }], { lr: 1 }).step();
    },
    TypeError,
    "it must be bfloat16, like its data, or float32: current value is of type Float16Array",
  ],
  "a 16-bit buffer for rounding once": [
    () => sgd([half()], [half()], [half()], { lr: 1, ...OFF, momentum: 0.9 }),
    TypeError,
    'must be float32, as rounding "nearest" needs it: current value is of type BFloat16Array',
  ],
  "a float32 buffer for torch's rounding": [
    () => {
      const options = { lr: 1, ...OFF, momentum: 0.9, rounding: "torch" } as const;
      sgd([half()], [half()], [new Float32Array(2)], options);
    },
    TypeError,
    "must be bfloat16, like its data: current value is of type Float32Array",
  ],
  "a sparse gradient": [
    () => {
      const grad = { indices: new Uint32Array([0]), values: half(), shape: [1, 2] as const };
      new SGD([{ data: half(), grad } as unknown as SparseParameter], { lr: 1 }).step();
    },
    TypeError,
    "as a sparse gradient needs data of float32 or float64: its data are bfloat16",
  ],
  "a differentiable step": [
    () => new SGD([{ data: half(), grad: half() }], { lr: 1, differentiable: true }).step(),
    TypeError,
    "Cannot use data of parameter 0 as differentiable needs float32 or float64: current type is bfloat16",
  ],
  "a way back through a step": [
    () => {
      const data = new Float16Array(2) as unknown as FloatArray;
      sgdVjp([data], [data], [null], { params: [data] }, { lr: 1, ...OFF });
    },
    TypeError,
    "Cannot go back through parameter 0 as it must be float32 or float64: current dtype is float16",
  ],
};

for (const [what, [act, type, text]] of Object.entries(REFUSED)) {
  Deno.test(`refused: ${what}`, () => void assertThrows(act, type, text));
}
