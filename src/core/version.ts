/** The version of this package, of its native library and of the release that holds both. */
export const VERSION = "0.1.0";
