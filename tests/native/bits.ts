/**
 * Steps of every dtype and kind on the backend that "auto" takes: their bits as hashes, one line each.
 * Argument: a file with the state of a float16 parameter.
 */

import { BFloat16Array, clipGradNorm, encodeStateDict, loadState, SGD, sgd } from "@descent/sgd";
import type { Parameter } from "@descent/sgd";

type Make = (length: number) => Float32Array | Float64Array | BFloat16Array;

const DTYPES: Record<string, Make> = {
  float32: (length) => new Float32Array(length),
  shared: (length) => new Float32Array(new SharedArrayBuffer(4 * length)),
  float64: (length) => new Float64Array(length),
  bfloat16: (length) => new BFloat16Array(length),
};

const OPTIONS = {
  plain: { lr: 0.1 },
  nesterov: { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 },
  eight: { lr: 0.1, momentum: 0.9, momentumBits: 8 },
  stochastic: { lr: 0.1, momentum: 0.9, rounding: "stochastic", seed: 7 },
  split: { lr: 0.1, momentum: 0.9, masterWeights: "split" },
} as const;

/** Values that every runtime computes alike; those of bfloat16 are any bits of small numbers. */
function fill(array: Float32Array | Float64Array | BFloat16Array, seed: number): void {
  const is16 = array instanceof BFloat16Array;
  for (let i = 0; i < array.length; i++) {
    const x = (i * 37 + seed * 101) % 1000;
    array[i] = is16 ? 0x3f00 + x % 256 + (x % 2) * 0x8000 : x / 512 - 1;
  }
}

function createParameters(make: Make): Parameter[] {
  return [3, 100, 5_000, 70_000].map((length, k) => {
    const [data, grad] = [make(length), make(length)];
    fill(data, k);
    fill(grad, k + 10);
    return { data, grad, name: `p${k}` } as Parameter;
  });
}

function hash(bytes: Uint8Array): string {
  let h = 0;
  for (const byte of bytes) h = (Math.imul(h, 31) + byte) | 0;
  return (h >>> 0).toString(16);
}

for (const [dtype, make] of Object.entries(DTYPES)) {
  for (const [name, options] of Object.entries(OPTIONS)) {
    if (name === "split" && dtype !== "bfloat16") continue;
    if (name === "eight" && dtype === "float64") continue;
    const params = createParameters(make);
    const optimizer = new SGD(params, options);
    optimizer.step();
    await optimizer.stepAsync();
    optimizer.step({ maxNorm: 1, gradScale: 0.5 });
    await optimizer.stepAsync({ maxNorm: 1, zeroGrad: true });
    const dict = encodeStateDict(optimizer.stateDict({ parameters: true }));
    console.log(dtype, name, optimizer.backend, hash(dict));
  }
}

const rows = {
  data: new Float32Array(6).fill(1),
  grad: null,
  name: "rows",
} as unknown as Parameter;
(rows as { grad: unknown }).grad = {
  indices: new Uint32Array([2, 0]),
  values: new Float32Array([1, 2, 3, 4]),
  shape: [3, 2],
};
const sparse = new SGD([rows], { lr: 0.1, momentum: 0.9 });
sparse.step();
await sparse.stepAsync();
console.log("sparse", hash(new Uint8Array((rows.data as Float32Array).buffer)));

const [a] = createParameters(DTYPES.float32);
console.log("norm", clipGradNorm([a], 0.5));
sgd([a.data], [a.grad], [null], {
  ...{ lr: 0.1, momentum: 0.9, dampening: 0, weightDecay: 0, nesterov: false, maximize: false },
});
console.log("sgd", hash(new Uint8Array((a.data as Float32Array).buffer)));

const learned = createParameters(DTYPES.float32);
const recorder = new SGD(learned, { lr: 0.1, momentum: 0.9, differentiable: true });
recorder.step();
recorder.step();
const ones = learned.map((p) => [p, new Float32Array(p.data.length).fill(1)] as const);
const { groups } = recorder.backward(new Map(ones) as never);
console.log("backward", JSON.stringify(groups));

try {
  const { state } = await loadState(process.argv[2]);
  console.log("float16 loads", state[0].momentum_buffer!.length);
} catch (error) {
  console.log("float16:", (error as Error).message);
}
