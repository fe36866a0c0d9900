/** The error of a checkpoint that cannot be read or written. */

import { cannot } from "../core/validate.ts";

/**
 * A checkpoint that cannot be used: bytes that are no valid state, or a file that cannot be read or
 * replaced. The message names the place; `cause` holds the system's error, if there is one.
 *
 * @example
 * ```ts
 * import { CheckpointError, decodeStateDict } from "@descent/sgd";
 *
 * try {
 *   decodeStateDict(new Uint8Array(3));
 * } catch (error) {
 *   console.log(error instanceof CheckpointError); // true
 * }
 * ```
 *
 * @category Checkpoints
 */
export class CheckpointError extends Error {
  /** The name of the class. */
  override readonly name = "CheckpointError";
}

/** An error that says why bytes cannot be read as a state. */
export function unreadable(reason: string, cause?: unknown): CheckpointError {
  return new CheckpointError(cannot("read the checkpoint", reason), { cause });
}
