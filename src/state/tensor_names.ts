/** What tensors are called in a file. */

/** Where safetensors keep a file's metadata, among the names of tensors. */
export const METADATA = "__metadata__";

/** The tensor of a momentum buffer, by the index of its parameter. */
export function momentumName(index: number): string {
  return `state.${index}.momentum_buffer`;
}

/** The tensor of a master weight, by the index of its parameter. */
export function masterName(index: number): string {
  return `state.${index}.master_weight`;
}

/** The tensor of a parameter: its own name, or one by its index if it has none. */
export function parameterName(name: string | null | undefined, index: number): string {
  return name ?? `param.${index}`;
}

/**
 * Names that a parameter cannot have, because a file needs them for other tensors. The last three are
 * kept for momentum in 8 bits and for master weights in two halves.
 */
const RESERVED =
  /^(param\.\d+|state\.\d+\.(momentum_buffer|master_weight|momentum8|momentum_scales|correction))$/;

/** Whether a file needs a name for something else than a parameter of that name. */
export function isReserved(name: string): boolean {
  return name === METADATA || RESERVED.test(name);
}
