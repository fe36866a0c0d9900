/** Support for functions that only some runtimes have. */

/**
 * Refuses an operation that Node.js and browsers do not support.
 *
 * @param doing The operation, such as "save the state".
 * @param instead What to do there instead.
 * @throws {Error} If the runtime is not Deno.
 */
export function checkDeno(doing: string, instead: string): void {
  if (typeof Deno === "undefined") throw new Error(`Cannot ${doing} as it needs Deno: ${instead}`);
}

/** Runs a function, and makes a promise of what it returns or throws: the new `Promise.try`. */
export function promiseOf<T>(run: () => T): Promise<T> {
  return new Promise((resolve) => resolve(run()));
}
