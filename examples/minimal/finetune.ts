/**
 * Fine-tuning: the weights of a network that PyTorch has trained on other digits. Its first layer is
 * frozen, its second one learns slowly, and a new head, which tells 3 from 8, learns fast.
 *
 *     deno run --allow-read --allow-write finetune.ts pretrained.safetensors eights.csv
 */

import { SGD } from "jsr:@descent/sgd@^0.1.0";
import { loadTensors, saveTensors } from "jsr:@descent/sgd@^0.1.0/safetensors";

// Copy from here ----------------------------------------------------------------------------------

const tensors = await loadTensors(Deno.args[0]);
const { rows, labels } = parse(await Deno.readTextFile(Deno.args[1]));

const frozen = { weight: valuesOf("features.0.weight"), bias: valuesOf("features.0.bias") };
const [weight, bias] = ["features.2.weight", "features.2.bias"].map(parameter);
const head = new Float32Array(bias.data.length);
const headWeight = { name: "head.weight", data: head, grad: head.slice(), shape: [1, 16] };
const headBias = { name: "head.bias", data: new Float32Array(1), grad: new Float32Array(1) };
const optimizer = new SGD(
  [{ params: [weight, bias], lr: 0.02 }, { params: [headWeight, headBias], lr: 0.2 }],
  { lr: 0.02, momentum: 0.9 },
);

const inputs = rows.map((row) => layer(row, frozen.weight, frozen.bias)); // these never change
for (let epoch = 1; epoch <= 100; epoch++) {
  let loss = 0;
  inputs.forEach((input, i) => {
    const hidden = layer(input, weight.data, bias.data);
    const score = scoreOf(hidden);
    loss += Math.log1p(Math.exp(labels[i] === 1 ? -score : score)) / inputs.length;
    const slope = (1 / (1 + Math.exp(-score)) - labels[i]) / inputs.length;
    headBias.grad[0] += slope;
    for (let j = 0; j < head.length; j++) {
      headWeight.grad[j] += slope * hidden[j];
      const before = slope * head[j] * (1 - hidden[j] ** 2); // before tanh
      bias.grad[j] += before;
      input.forEach((x, k) => weight.grad[j * input.length + k] += before * x);
    }
  });
  optimizer.step({ zeroGrad: true });
  if (epoch % 25 === 0) console.log(`epoch ${epoch}  loss ${loss.toFixed(4)}`);
}
const trained = { ...tensors, "head.weight": headWeight, "head.bias": headBias };
await saveTensors("finetuned.safetensors", trained, { metadata: { format: "pt" } });

// To here -----------------------------------------------------------------------------------------

const predicted = inputs.map((input) => Number(scoreOf(layer(input, weight.data, bias.data)) > 0));
const right = predicted.filter((label, i) => label === labels[i]).length;
console.log(`accuracy ${(100 * right / rows.length).toFixed(1)} % of ${rows.length} rows`);

function valuesOf(name: string): Float32Array {
  const { data, dtype } = tensors[name];
  if (dtype !== "F32") throw new TypeError(`${name} must be of F32: it is ${dtype}`);
  return data;
}

function parameter(name: string) {
  const data = valuesOf(name);
  return { name, data, grad: new Float32Array(data.length), shape: tensors[name].shape };
}

function layer(input: Float32Array, weight: Float32Array, bias: Float32Array): Float32Array {
  return bias.map((b, j) =>
    Math.tanh(input.reduce((sum, x, k) => sum + x * weight[j * input.length + k], b))
  );
}

function scoreOf(hidden: Float32Array): number {
  return hidden.reduce((sum, h, j) => sum + h * head[j], headBias.data[0]);
}

/** Reads a table, and scales the ink as it was for the training of the network. */
function parse(text: string): { rows: Float32Array[]; labels: number[] } {
  const lines = text.trim().split(/\r?\n/).slice(1).map((line) => line.split(",").map(Number));
  const labels = lines.map((cells) => cells.pop()!);
  return { rows: lines.map((cells) => Float32Array.from(cells, (ink) => ink / 4 - 0.5)), labels };
}
