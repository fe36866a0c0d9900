/**
 * Says goodbye to the other ranks when this one ends, however it does, so that nobody waits for it.
 *
 * Deno fires `unload` at a normal end and at `Deno.exit`, and `error` or `unhandledrejection` before an
 * uncaught error ends the process, which then fires no `unload`. Node.js and Bun have `exit` for all.
 */

/** What is called at the end. */
export interface Ending {
  /** This rank ends, as it should. */
  end(): void;
  /** This rank ends with an error. */
  fail(message: string): void;
}

interface NodeProcess {
  on(event: string, listener: (error: unknown) => void): void;
  off(event: string, listener: (error: unknown) => void): void;
}

/**
 * Calls one of two functions when the program ends.
 *
 * @returns Ends that.
 */
export function watchEnd(ending: Ending): () => void {
  return typeof Deno === "undefined" ? watchNode(ending) : watchDeno(ending);
}

function watchDeno(ending: Ending): () => void {
  const unload = () => ending.end();
  const error = (event: ErrorEvent) => {
    if (!event.defaultPrevented) ending.fail(messageOf(event.error ?? event.message));
  };
  const rejection = (event: PromiseRejectionEvent) => {
    if (!event.defaultPrevented) ending.fail(messageOf(event.reason));
  };
  addEventListener("unload", unload);
  addEventListener("error", error);
  addEventListener("unhandledrejection", rejection);
  return () => {
    removeEventListener("unload", unload);
    removeEventListener("error", error);
    removeEventListener("unhandledrejection", rejection);
  };
}

function watchNode(ending: Ending): () => void {
  const node = (globalThis as { process?: NodeProcess }).process;
  const exit = () => ending.end();
  const uncaught = (error: unknown) => ending.fail(messageOf(error));
  node?.on("exit", exit);
  node?.on("uncaughtExceptionMonitor", uncaught);
  return () => {
    node?.off("exit", exit);
    node?.off("uncaughtExceptionMonitor", uncaught);
  };
}

/** The longest message that other ranks get. */
const MOST_LETTERS = 1000;

function messageOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.slice(0, MOST_LETTERS).toWellFormed();
}
