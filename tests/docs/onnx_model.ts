/** Writes small ONNX models: as much of the format as a graph of a few nodes needs. */

/** A message of protobuf, or a part of one. */
type Bytes = readonly number[];

/** The number that stands for float32. */
const FLOAT = 1;

function varint(value: number): Bytes {
  return value < 128 ? [value] : [value % 128 + 128, ...varint(Math.floor(value / 128))];
}

const number = (field: number, value: number): Bytes => [...varint(8 * field), ...varint(value)];

const bytes = (field: number, content: Bytes): Bytes => [
  ...varint(8 * field + 2),
  ...varint(content.length),
  ...content,
];

const text = (field: number, content: string) =>
  bytes(field, [...new TextEncoder().encode(content)]);

/** The name and the shape of a float32 tensor. */
export interface Value {
  readonly name: string;
  readonly shape: readonly number[];
}

/** An operator: its type, and the names of its inputs and its output. */
export type Node = readonly [type: string, inputs: readonly string[], output: string];

/** A graph. */
export interface Graph {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly constants: readonly (Value & { readonly data: Float32Array })[];
}

function value(field: number, { name, shape }: Value): Bytes {
  const sides = shape.flatMap((side) => bytes(1, number(1, side)));
  const tensor = bytes(1, [...number(1, FLOAT), ...bytes(2, sides)]);
  return bytes(field, [...text(1, name), ...bytes(2, tensor)]);
}

function node([type, inputs, output]: Node): Bytes {
  return bytes(1, [
    ...inputs.flatMap((name) => text(1, name)),
    ...text(2, output),
    ...text(4, type),
  ]);
}

function constant({ name, shape, data }: Graph["constants"][number]): Bytes {
  const elements = [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
  const head = [...shape.flatMap((side) => number(1, side)), ...number(2, FLOAT), ...text(8, name)];
  return bytes(5, [...head, ...bytes(9, elements)]);
}

/** The file of a model, whose operators have the default attributes. */
export function onnxModel({ nodes, inputs, outputs, constants }: Graph): Uint8Array<ArrayBuffer> {
  const graph = [
    ...nodes.flatMap(node),
    ...text(2, "graph"),
    ...constants.flatMap(constant),
    ...inputs.flatMap((input) => value(11, input)),
    ...outputs.flatMap((output) => value(12, output)),
  ];
  const version = bytes(8, number(2, 17));
  return new Uint8Array([...number(1, 8), ...bytes(7, graph), ...version]);
}
