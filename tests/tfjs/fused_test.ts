/** Fused kernels of wasm, which keep weights and biases in packed form, beside views that are stepped. */

import { assert, assertEquals } from "@std/assert";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import type { Tensor, Tensor2D, Tensor4D, Variable } from "@tensorflow/tfjs";
import { testOn } from "./libraries.ts";
import type { Tf } from "./libraries.ts";

const SHAPES = {
  filter: [3, 3, 2, 2],
  depthwise: [3, 3, 2, 1],
  matrix: [2, 2],
  bias: [2],
  alpha: [2],
} as const;

type Weights<T = Tensor> = Record<keyof typeof SHAPES, T>;

function runKernels(tf: Tf, { filter, depthwise, matrix, bias, alpha }: Weights): number[][] {
  const x = tf.range(-9, 9).reshape([1, 3, 3, 2]) as Tensor4D;
  const a = tf.range(-2, 2).reshape([2, 2]) as Tensor2D;
  const shared = { bias, activation: "prelu", preluActivationWeights: alpha } as const;
  const conv = { x, strides: 1, pad: "same", ...shared } as const;
  const results = [
    tf.fused.conv2d({ ...conv, filter: filter as Tensor4D }),
    tf.fused.depthwiseConv2d({ ...conv, filter: depthwise as Tensor4D }),
    tf.fused.matMul({ a, b: matrix as Tensor2D, ...shared }),
    tf.fused.matMul({ a, b: matrix as Tensor2D, bias, activation: "relu" }),
    tf.prelu(a, alpha),
  ];
  return results.map((result) => [...result.dataSync()]);
}

for (const name of Object.keys(SHAPES) as (keyof typeof SHAPES)[]) {
  testOn("wasm", `fused kernels compute with a view that is stepped: ${name}`, (tf) => {
    const entries = Object.entries(SHAPES).map(([key, shape], i) => {
      const size = shape.reduce<number>((product, length) => product * length, 1);
      const values = Array.from({ length: size }, (_, k) => (i + k) / 4 - 1);
      return [key, tf.tidy(() => tf.variable(tf.tensor(values, [...shape]), true))] as const;
    });
    const variables = Object.fromEntries(entries) as unknown as Weights<Variable>;
    const optimizer = new DescentOptimizer(tf, { lr: 0.5, momentum: 0.9, memory: "view" });
    const gradient = tf.ones([...SHAPES[name]]);
    for (let step = 0; step < 3; step++) {
      const before = runKernels(tf, variables);
      optimizer.applyGradients([{ name: variables[name].name, tensor: gradient }]);
      const copies = Object.fromEntries(
        entries.map(([key, tensor]) => [key, tf.tensor(tensor.dataSync().slice(), tensor.shape)]),
      );
      const after = runKernels(tf, variables);
      assertEquals(after, runKernels(tf, copies as unknown as Weights));
      assert(after.flat().some((value, i) => value !== before.flat()[i]));
    }
  });
}
