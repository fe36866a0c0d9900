/** A tensor of a state dict. */

import type { HostArray } from "../core/host_array.ts";

/**
 * A tensor with its shape.
 *
 * @category Checkpoints
 */
export interface TensorDict {
  /** The values, row-major. */
  data: HostArray;
  /** The shape; absent for one dimension, and then it fits any shape of its length. */
  shape?: readonly number[];
}
