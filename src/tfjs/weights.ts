/** The state of an optimizer as weights, which tfjs saves with a model. */

import { decodeStateDict, encodeStateDict } from "../checkpoint/encoding.ts";
import { checkArray, describe, refusal } from "../core/validate.ts";
import type { StateDict } from "../state/dict.ts";
import type { NamedTfTensor } from "./api.ts";

/** The names of the weights: the number of steps, as tfjs's own optimizers have it, and the state. */
export const WEIGHTS = { iterations: "iter", state: "descent/state" } as const;

/** A state dict as integers, of which tfjs has tensors: the number of bytes, and the bytes. */
export function packState(dict: StateDict): Int32Array {
  const bytes = encodeStateDict(dict);
  const packed = new Int32Array(1 + Math.ceil(bytes.length / 4));
  packed[0] = bytes.length;
  new Uint8Array(packed.buffer, 4).set(bytes);
  return packed;
}

/** The state dict that `packState` packed. */
export function unpackState(packed: Int32Array): StateDict {
  return decodeStateDict(new Uint8Array(packed.buffer, packed.byteOffset + 4, packed[0]).slice());
}

/** What weights hold. */
export interface Weights {
  readonly iterations: number;
  /** Null if the optimizer had not stepped. */
  readonly state: StateDict | null;
}

/**
 * Reads weights.
 *
 * @throws {TypeError} If they are not those of a `DescentOptimizer`.
 */
export async function readWeights(weights: readonly NamedTfTensor[]): Promise<Weights> {
  checkArray("set the weights", weights, "they");
  const [first, second, ...rest] = weights;
  if (first?.name !== WEIGHTS.iterations || rest.length > 0) throw weightsError(weights);
  const [iterations] = await dataOf(first);
  if (second === undefined) return { iterations, state: null };
  if (second.name !== WEIGHTS.state) throw weightsError(weights);
  return { iterations, state: unpackState(await dataOf(second)) };
}

/** The values of a tensor of integers, which on a GPU can only be waited for. */
async function dataOf({ tensor }: NamedTfTensor): Promise<Int32Array> {
  return await (tensor as unknown as { data(): Promise<Int32Array> }).data();
}

function weightsError(weights: readonly NamedTfTensor[]): TypeError {
  const names = weights.slice(0, 3).map(({ name }) => describe(name)).join(", ");
  const reason = "they must be those of a DescentOptimizer";
  return new TypeError(refusal("set the weights", reason, `[${names}]`, "names"));
}
