/** The isolate in which this module runs, as the native library knows it. */

/** The part of `process` that loads modules of Node-API. */
interface Loader {
  dlopen?(module: { exports: unknown }, path: string): void;
}

let known: number | undefined;

/**
 * The isolate's number, by which it opens GPUs: they are closed when it ends, however it does, as
 * `kernels/src/ffi/gpu/isolate.rs` explains. No further permission is asked for than to open the
 * library.
 *
 * @param path The library's file, which has been opened before.
 * @returns 0 if the runtime has no Node-API; GPUs are then left to the garbage collector.
 */
export function isolateNumber(path: string): number {
  const { process } = globalThis as { process?: Loader };
  const module: { exports: unknown } = { exports: {} };
  if (known === undefined) process?.dlopen?.(module, path);
  return known ??= typeof module.exports === "number" ? module.exports : 0;
}
