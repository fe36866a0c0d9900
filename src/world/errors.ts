/** The errors of a world that a caller would catch. */

/**
 * Ranks cannot do something together: they do different things, or some have ended or failed. All
 * ranks throw it with the same message, and nothing has been written.
 *
 * @category World
 */
export class WorldError extends Error {
  /** The class's name. */
  override name = "WorldError";
}

/**
 * A launcher has started this process, and no library of MPI, or no native library of Descent, can
 * be used; the message names what was looked for and what to install.
 *
 * @category World
 */
export class WorldUnavailableError extends Error {
  /** The class's name. */
  override name = "WorldUnavailableError";
}
