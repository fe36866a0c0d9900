/** What goes wrong on the way to an installed library. */

/**
 * The native library could not be installed or removed; nothing half-installed is left behind.
 *
 * @category Install
 */
export class KernelInstallError extends Error {
  /** Always `"KernelInstallError"`. */
  override name = "KernelInstallError";
}
