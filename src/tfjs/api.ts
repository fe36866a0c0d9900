/**
 * The parts of TensorFlow.js that the adapter uses. Descent has types of its own for them, so that it
 * neither imports tfjs nor needs its types.
 */

/**
 * A tensor of tfjs, as far as Descent's types go.
 *
 * @category TensorFlow.js
 */
export interface TfTensor {
  /** The size of each dimension. */
  readonly shape: readonly number[];
  /** The type of the elements, such as `float32`. */
  readonly dtype: string;
  /** Stands for the memory; clones share it. */
  readonly dataId: object;
  /** Whether the tensor can no longer be used. */
  readonly isDisposed: boolean;
  /** The values. */
  dataSync(): unknown;
  /** Copies the values on the device. */
  dataToGPU(): object;
  /** Gives the memory back. */
  dispose(): void;
}

/**
 * A variable of tfjs, as far as Descent's types go.
 *
 * @category TensorFlow.js
 */
export interface TfVariable extends TfTensor {
  /** The name, by which gradients are assigned to variables. */
  readonly name: string;
  /** Takes over the memory of a tensor. */
  assign(value: TfTensor): void;
}

/**
 * A gradient for `applyGradients`, or a weight from `getWeights`.
 *
 * @category TensorFlow.js
 */
export interface NamedTfTensor {
  /** The name of the variable, or of the weight. */
  readonly name: string;
  /** The values. */
  readonly tensor: TfTensor;
}

/**
 * The module of tfjs (`import * as tf from "@tensorflow/tfjs"`), as far as Descent's types go.
 *
 * @category TensorFlow.js
 */
export interface Tfjs<Base = unknown> {
  /** The class that tfjs wants optimizers to be of; it is used for types alone. */
  readonly Optimizer: abstract new (...args: never[]) => Base;
  /** Where classes are registered that saved models name. */
  readonly serialization: object;
  /** The backend in use. */
  backend(): object;
  /** Gives the memory of tensors back. */
  dispose(container: never): void;
  /** The engine, which knows all variables by their names. */
  engine(): { readonly registeredVariables: object };
  /** The name of the backend in use. */
  getBackend(): string;
  /** Protects a tensor from `tidy`. */
  keep(tensor: never): object;
  /** A product of matrices. */
  matMul(a: never, b: never): object;
  /** Makes a tensor. */
  tensor(values: never, shape?: never, dtype?: never): object;
  /** Computes a loss and its gradients. */
  variableGrads(f: never, variables?: never): object;
}

/**
 * The gradients that `applyGradients` takes: by name, or as a list.
 *
 * @category TensorFlow.js
 */
export type TfGradients =
  | Readonly<Record<string, TfTensor | null | undefined>>
  | readonly { readonly name: string; readonly tensor: TfTensor | null | undefined }[];

/** The module, with the signatures that the adapter calls. */
export interface Tf {
  readonly serialization: { registerClass(cls: object): void };
  backend(): object;
  dispose(container: object): void;
  engine(): { readonly registeredVariables: Readonly<Record<string, TfVariable>> };
  getBackend(): string;
  keep(tensor: TfTensor): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  tensor(values: object, shape?: readonly number[], dtype?: "float32" | "int32"): TfTensor;
  variableGrads(f: () => TfTensor, variables?: readonly TfVariable[]): {
    value: TfTensor;
    grads: Record<string, TfTensor>;
  };
}

/** What every backend of tfjs has. */
export interface TfBackend {
  /** How many tensors share a memory. */
  refCount(dataId: object): number;
}
