/** What is measured: the parameter shapes of real models, and many tensors that are tiny. */

/** The shape of one tensor. */
export type Shape = readonly number[];

/** A list of tensors that one optimizer steps. */
export interface Workload {
  readonly name: string;
  readonly shapes: readonly Shape[];
  /** How many elements the tensors have together. */
  readonly elements: number;
}

/** The workloads, from the smallest to the largest. */
export const WORKLOADS: readonly Workload[] = [
  createWorkload("2 x 10", repeat(2, [10])),
  createWorkload("161 x 10", repeat(161, [10])),
  createWorkload("MLP 784-256-128-10", mlp([784, 256, 128, 10])),
  createWorkload("ResNet-50", resnet50()),
  createWorkload("GPT-2 small", gpt2({ layers: 12, width: 768, vocabulary: 50257, context: 1024 })),
];

/** Finds a workload by its name. */
export function findWorkload(name: string): Workload {
  const found = WORKLOADS.find((workload) => workload.name === name);
  if (found !== undefined) return found;
  const names = WORKLOADS.map((workload) => workload.name).join(", ");
  throw new RangeError(`Cannot find workload "${name}": there are ${names}`);
}

/** Makes a workload of its shapes. */
export function createWorkload(name: string, shapes: readonly Shape[]): Workload {
  return { name, shapes, elements: shapes.reduce((sum, shape) => sum + sizeOf(shape), 0) };
}

/** How many elements a tensor of this shape has. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, side) => product * side, 1);
}

/** A list with the same shape `count` times. */
export function repeat(count: number, shape: Shape): Shape[] {
  return Array.from({ length: count }, () => shape);
}

/** Fully connected layers: a weight and a bias each. */
function mlp(widths: readonly number[]): Shape[] {
  return widths.slice(1).flatMap((outputs, i) => [[outputs, widths[i]], [outputs]]);
}

/** torchvision's resnet50: a stem, four stages of bottleneck blocks, a classifier. */
function resnet50(): Shape[] {
  const shapes: Shape[] = [...convolution(3, 64, 7)];
  let inputs = 64;
  for (const [stage, blocks] of [3, 4, 6, 3].entries()) {
    const width = 64 << stage;
    for (let block = 0; block < blocks; block++) {
      shapes.push(...bottleneck(inputs, width, block === 0));
      inputs = 4 * width;
    }
  }
  return [...shapes, [1000, inputs], [1000]];
}

/** Three convolutions, and where the number of channels changes a fourth, on the way around them. */
function bottleneck(inputs: number, width: number, first: boolean): Shape[] {
  return [
    ...convolution(inputs, width, 1),
    ...convolution(width, width, 3),
    ...convolution(width, 4 * width, 1),
    ...(first ? convolution(inputs, 4 * width, 1) : []),
  ];
}

/** A convolution without bias and the weight and bias of its batch norm. */
function convolution(inputs: number, outputs: number, side: number): Shape[] {
  return [[outputs, inputs, side, side], [outputs], [outputs]];
}

interface Gpt2 {
  readonly layers: number;
  readonly width: number;
  readonly vocabulary: number;
  readonly context: number;
}

/** GPT-2: two embeddings, the blocks, a last layer norm; the output shares the embedding. */
function gpt2({ layers, width, vocabulary, context }: Gpt2): Shape[] {
  const norm = [[width], [width]];
  const block = [
    ...norm,
    ...linear(width, 3 * width),
    ...linear(width, width),
    ...norm,
    ...linear(width, 4 * width),
    ...linear(4 * width, width),
  ];
  const blocks = Array.from({ length: layers }, () => block).flat();
  return [[vocabulary, width], [context, width], ...blocks, ...norm];
}

function linear(inputs: number, outputs: number): Shape[] {
  return [[inputs, outputs], [outputs]];
}
