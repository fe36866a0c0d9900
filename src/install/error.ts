/** The error of an installation that fails. */

/**
 * The native library could not be installed or removed; nothing half-installed is left behind.
 *
 * @category Install
 */
export class KernelInstallError extends Error {
  /** Always `"KernelInstallError"`. */
  override name = "KernelInstallError";
}
