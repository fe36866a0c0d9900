/** One dense layer, as a block whose output is to stay what it was. */

type Vector = Float32Array<ArrayBuffer>;

/** A layer: `x W + b`, then relu if there is one. */
export interface Layer {
  /** [inputs, outputs] */
  readonly weights: Vector;
  /** [outputs] */
  readonly bias: Vector;
  readonly relu: boolean;
}

/** The outputs, [rows, outputs], for inputs of [rows, inputs]. */
export function forward({ weights, bias, relu }: Layer, x: Vector): Vector {
  const columns = bias.length;
  const inputs = weights.length / columns;
  const out = new Float32Array(x.length / inputs * columns);
  for (let from = 0, at = 0; at < out.length; from += inputs, at += columns) {
    const row = out.subarray(at, at + columns);
    row.set(bias);
    for (let i = 0, k = 0; i < inputs; i++) {
      const value = x[from + i];
      for (let j = 0; j < columns; j++, k++) row[j] += value * weights[k];
    }
    if (relu) { for (let j = 0; j < columns; j++) row[j] = Math.max(row[j], 0); }
  }
  return out;
}

/** How far a layer is from its targets: the mean square, and its gradient by the weights. */
export function reconstruction(
  layer: Layer,
  x: Vector,
  targets: Vector,
): { loss: number; grad: Vector } {
  const out = forward(layer, x);
  const columns = layer.bias.length;
  const inputs = layer.weights.length / columns;
  const grad = new Float32Array(layer.weights.length);
  let loss = 0;
  for (let from = 0, at = 0; at < out.length; from += inputs, at += columns) {
    for (let j = 0; j < columns; j++) {
      const error = out[at + j] - targets[at + j];
      loss += error * error / out.length;
      if (layer.relu && out[at + j] === 0) continue;
      const slope = 2 * error / out.length;
      for (let i = 0; i < inputs; i++) grad[i * columns + j] += slope * x[from + i];
    }
  }
  return { loss, grad };
}
