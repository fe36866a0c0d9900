/**
 * TensorFlow.js on WebAssembly, as a program to be measured: Nesterov momentum; its optimizers have
 * no weight decay, so it is asked for less than the others.
 */

import * as tf from "@tensorflow/tfjs-core";
import { getThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { findWorkload } from "../workloads.ts";
import { serve } from "./serve.ts";

await tf.setBackend("wasm");
await tf.ready();

const { shapes } = findWorkload(Deno.args[0]);
const variables = shapes.map((shape, i) =>
  tf.variable(tf.fill([...shape], 0.05), true, `tensor${i}`)
);
const gradients = variables.map(({ name, shape }) => ({ name, tensor: tf.fill(shape, 0.01) }));
const optimizer = tf.train.momentum(LR, MODES[MAIN_MODE].momentum, MODES[MAIN_MODE].nesterov);

await serve(
  { step: () => optimizer.applyGradients(gradients) },
  `tfjs ${tf.version_core} (wasm, ${getThreadsCount()} thread)`,
);
