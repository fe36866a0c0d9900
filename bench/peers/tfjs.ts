/**
 * TensorFlow.js on WebAssembly, as a program to be measured: Nesterov momentum; its optimizers have
 * no weight decay, so it is asked for less than the others. Descent steps the same variables with the
 * same rule, on copies and in the memory of tfjs.
 */

import { DescentOptimizer } from "@descent/sgd/tfjs";
import * as tf from "@tensorflow/tfjs-core";
import { getThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { findWorkload } from "../workloads.ts";
import { IN_TFJS } from "./programs.ts";
import { serve } from "./serve.ts";

await tf.setBackend("wasm");
await tf.ready();

const { shapes } = findWorkload(Deno.args[0]);
const variables = shapes.map((shape, i) =>
  tf.variable(tf.fill([...shape], 0.05), true, `tensor${i}`)
);
const gradients = variables.map(({ name, shape }) => ({ name, tensor: tf.fill(shape, 0.01) }));
const { momentum, nesterov } = MODES[MAIN_MODE];
const peer = tf.train.momentum(LR, momentum, nesterov);
const [copies, views] = (["copy", "view"] as const).map((memory) =>
  new DescentOptimizer(tf, { lr: LR, momentum, nesterov, memory })
);

await serve(
  {
    step: () => peer.applyGradients(gradients),
    [IN_TFJS.copies]: () => copies.applyGradients(gradients),
    [IN_TFJS.views]: () => views.applyGradients(gradients),
  },
  `tfjs ${tf.version_core} (wasm, ${getThreadsCount()} thread)`,
);
