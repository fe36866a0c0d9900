/** What only some runtimes have. */

/**
 * Refuses what Node.js and browsers cannot do.
 *
 * @param doing What it is, as in "save the state".
 * @param instead What to do there instead.
 * @throws {Error} Wherever there is no Deno.
 */
export function checkDeno(doing: string, instead: string): void {
  if (typeof Deno === "undefined") throw new Error(`Cannot ${doing} as it needs Deno: ${instead}`);
}

/** Runs a function, and makes a promise of what it returns or throws: the new `Promise.try`. */
export function promiseOf<T>(run: () => T): Promise<T> {
  return new Promise((resolve) => resolve(run()));
}
