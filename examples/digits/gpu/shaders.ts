/** The network as WGSL: `softmax(relu(x W1 + b1) W2 + b2)` and its gradients. */

import type { Sizes } from "../network.ts";

/**
 * What a batch leaves behind, a record per image: the hidden activations, and the gradients of the mean
 * loss with respect to what both layers put out. One tensor of records, because WebGPU promises eight
 * bindings only.
 */
export function recordLength({ hidden, outputs }: Sizes): number {
  return 2 * hidden + outputs;
}

/** What both shaders begin with: the sizes, the tensors they read, and the forward pass. */
function forward({ inputs, hidden, outputs }: Sizes): string {
  return `
const INPUTS = ${inputs}u;
const HIDDEN = ${hidden}u;
const OUTPUTS = ${outputs}u;
const IMAGE = INPUTS + 1u;

// The pixels of each image, then its label.
@group(0) @binding(0) var<storage, read> images: array<f32>;
@group(0) @binding(1) var<storage, read> hidden_weights: array<f32>;
@group(0) @binding(2) var<storage, read> hidden_bias: array<f32>;
@group(0) @binding(3) var<storage, read> output_weights: array<f32>;
@group(0) @binding(4) var<storage, read> output_bias: array<f32>;

var<workgroup> activations: array<f32, HIDDEN>;
var<workgroup> scores: array<f32, OUTPUTS>;

// A workgroup takes an image, and each of its lanes a hidden unit.
fn forward(image: u32, lane: u32) {
  var sum = hidden_bias[lane];
  for (var i = 0u; i < INPUTS; i++) {
    sum += images[image * IMAGE + i] * hidden_weights[i * HIDDEN + lane];
  }
  activations[lane] = select(sum, 0.0, sum < 0.0);
  workgroupBarrier();
  if lane < OUTPUTS {
    var score = output_bias[lane];
    for (var j = 0u; j < HIDDEN; j++) {
      score += activations[j] * output_weights[j * OUTPUTS + lane];
    }
    scores[lane] = score;
  }
  workgroupBarrier();
}

// The first of the highest scores.
fn best() -> u32 {
  var best = 0u;
  for (var k = 1u; k < OUTPUTS; k++) {
    if scores[k] > scores[best] {
      best = k;
    }
  }
  return best;
}

fn sum_of_exponentials(highest: f32) -> f32 {
  var sum = 0.0;
  for (var k = 0u; k < OUTPUTS; k++) {
    sum += exp(scores[k] - highest);
  }
  return sum;
}
`;
}

/**
 * One workgroup per image of a batch: its loss, and the mean loss's gradients with respect to what
 * both layers put out. There must be at least as many hidden units as outputs.
 */
export function trainingShader(sizes: Sizes): string {
  return `${forward(sizes)}
const RECORD = ${recordLength(sizes)}u;
@group(0) @binding(5) var<storage, read> batch: array<f32>;
@group(0) @binding(6) var<storage, read_write> records: array<f32>;
@group(0) @binding(7) var<storage, read_write> losses: array<f32>;

var<workgroup> score_grad: array<f32, OUTPUTS>;

@compute @workgroup_size(HIDDEN)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = workgroup.x;
  let image = u32(batch[at]);
  forward(image, lane);
  records[at * RECORD + lane] = activations[lane];

  let label = u32(images[image * IMAGE + INPUTS]);
  let highest = scores[best()];
  let sum = sum_of_exponentials(highest);
  if lane == 0u {
    losses[image] = log(sum) - (scores[label] - highest);
  }
  if lane < OUTPUTS {
    let probability = exp(scores[lane] - highest) / sum;
    score_grad[lane] = (probability - f32(lane == label)) / f32(arrayLength(&batch));
    records[at * RECORD + 2u * HIDDEN + lane] = score_grad[lane];
  }
  workgroupBarrier();
  var grad = 0.0;
  for (var k = 0u; k < OUTPUTS; k++) {
    grad += output_weights[lane * OUTPUTS + k] * score_grad[k];
  }
  records[at * RECORD + HIDDEN + lane] = select(0.0, grad, activations[lane] > 0.0);
}
`;
}

/** One workgroup per test image: its loss, and 1 if the network recognizes it, else 0. */
export function testShader(sizes: Sizes): string {
  return `${forward(sizes)}
@group(0) @binding(5) var<storage, read_write> losses: array<f32>;
@group(0) @binding(6) var<storage, read_write> hits: array<f32>;

@compute @workgroup_size(HIDDEN)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let image = workgroup.x;
  forward(image, lane);
  if lane == 0u {
    let label = u32(images[image * IMAGE + INPUTS]);
    let first = best();
    let highest = scores[first];
    losses[image] = log(sum_of_exponentials(highest)) - (scores[label] - highest);
    hits[image] = f32(first == label);
  }
}
`;
}

/** Lanes of a workgroup of the layers' shader. */
const LAYER_LANES = 64;

/** A layer whose gradients are summed: its sizes, and where a batch has left what they are made of. */
interface Layer {
  readonly from: number;
  readonly to: number;
  readonly record: number;
  /** An input of the layer, number `i` of the image `at` of the batch. */
  readonly input: string;
  /** Where in a record the gradients with respect to its outputs begin. */
  readonly grads: number;
  /** More bindings. */
  readonly bindings?: string;
}

/**
 * The gradients of a layer with respect to its weights, [from, to], and to its bias: one lane per element,
 * which sums over the batch, always in the same order.
 */
function layerShader({ from, to, record, input, grads, bindings = "" }: Layer): string {
  return `
const FROM = ${from}u;
const TO = ${to}u;
const RECORD = ${record}u;

@group(0) @binding(0) var<storage, read> batch: array<f32>;
@group(0) @binding(1) var<storage, read> records: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights_grad: array<f32>;
@group(0) @binding(3) var<storage, read_write> bias_grad: array<f32>;
${bindings}
@compute @workgroup_size(${LAYER_LANES})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x / TO;
  let j = id.x % TO;
  if i > FROM {
    return;
  }
  var sum = 0.0;
  for (var at = 0u; at < arrayLength(&batch); at++) {
    var input = 1.0; // what a bias is multiplied with
    if i < FROM {
      input = ${input};
    }
    sum += input * records[at * RECORD + ${grads}u + j];
  }
  if i < FROM {
    weights_grad[id.x] = sum;
  } else {
    bias_grad[j] = sum;
  }
}
`;
}

/** The gradients of the hidden layer, whose inputs are the images. */
export function hiddenLayerShader(sizes: Sizes): string {
  const { inputs, hidden } = sizes;
  return layerShader({
    ...{ from: inputs, to: hidden, record: recordLength(sizes), grads: hidden },
    input: `images[u32(batch[at]) * ${inputs + 1}u + i]`,
    bindings: "@group(0) @binding(4) var<storage, read> images: array<f32>;",
  });
}

/** The gradients of the output layer, whose inputs are the hidden activations. */
export function outputLayerShader(sizes: Sizes): string {
  const { hidden, outputs } = sizes;
  return layerShader({
    ...{ from: hidden, to: outputs, record: recordLength(sizes), grads: 2 * hidden },
    input: "records[at * RECORD + i]",
  });
}

/** Workgroups of a layer's shader. */
export function layerWorkgroups(from: number, to: number): number {
  return Math.ceil((from + 1) * to / LAYER_LANES);
}

/** One workgroup: the sums of the training losses, the test losses and the hits. */
export const SCORE_SHADER = `
const LANES = 64u;

@group(0) @binding(0) var<storage, read> train_losses: array<f32>;
@group(0) @binding(1) var<storage, read> test_losses: array<f32>;
@group(0) @binding(2) var<storage, read> test_hits: array<f32>;
@group(0) @binding(3) var<storage, read_write> score: array<f32>;

var<workgroup> sums: array<vec3<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = vec3<f32>();
  for (var i = lane; i < arrayLength(&train_losses); i += LANES) {
    sum.x += train_losses[i];
  }
  for (var i = lane; i < arrayLength(&test_losses); i += LANES) {
    sum.y += test_losses[i];
    sum.z += test_hits[i];
  }
  sums[lane] = sum;
  workgroupBarrier();
  if lane == 0u {
    for (var k = 1u; k < LANES; k++) {
      sum += sums[k];
    }
    score[0] = sum.x;
    score[1] = sum.y;
    score[2] = sum.z;
  }
}
`;
