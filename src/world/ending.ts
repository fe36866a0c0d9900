/**
 * Says goodbye to the other ranks when this one ends, however it does, so that nobody waits for it.
 *
 * Deno fires `unload` at a normal end and at `Deno.exit`, and `error` or `unhandledrejection` before an
 * uncaught error ends the process, which then fires no `unload`. Whether it does end is only known once
 * all listeners have been called, as each can prevent it, and after that no JavaScript runs. So words are
 * left for the end of the process, and are taken back if the program still runs. Node.js and Bun have
 * `exit` for all ends.
 */

/** What is called at the end. */
export interface Ending {
  /** This rank ends, as it should. */
  end(): void;
  /** This rank ends with an error that nobody else prints. */
  fail(message: string): void;
  /**
   * This rank may end with an error, without another call; null if it has not.
   *
   * @returns Whether that can be said then.
   */
  prepare(message: string | null): boolean;
}

interface NodeProcess {
  on(event: string, listener: (error: unknown) => void): void;
  off(event: string, listener: (error: unknown) => void): void;
}

/**
 * Calls one of the functions when the program ends.
 *
 * @returns Ends that.
 */
export function watchEnd(ending: Ending): () => void {
  return typeof Deno === "undefined" ? watchNode(ending) : watchDeno(ending);
}

function watchDeno(ending: Ending): () => void {
  const failure = new Failure((message) => {
    if (!ending.prepare(message) && message !== null) ending.fail(message);
  });
  const unload = () => failure.end(ending);
  const error = (event: ErrorEvent) => {
    if (!event.defaultPrevented) failure.expect(event.error ?? event.message);
  };
  const rejection = (event: PromiseRejectionEvent) => {
    if (!event.defaultPrevented) failure.expect(event.reason);
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
  const failure = new Failure(() => {});
  const exit = () => failure.end(ending);
  const uncaught = (error: unknown) => failure.expect(error);
  node?.on("exit", exit);
  node?.on("uncaughtExceptionMonitor", uncaught);
  return () => {
    node?.off("exit", exit);
    node?.off("uncaughtExceptionMonitor", uncaught);
  };
}

/** An error that may end the program. */
class Failure {
  #message: string | null = null;
  readonly #told: (message: string | null) => void;

  /** @param told Called with each message, and with null once the program has survived it. */
  constructor(told: (message: string | null) => void) {
    this.#told = told;
  }

  /** There is one. If the program still runs when the next timer is due, it has been handled. */
  expect(error: unknown): void {
    this.#tell(messageOf(error));
    setTimeout(() => this.#tell(null), 0);
  }

  /** The program ends. */
  end(ending: Ending): void {
    if (this.#message === null) ending.end();
    else ending.fail(this.#message);
  }

  #tell(message: string | null): void {
    this.#message = message;
    this.#told(message);
  }
}

/** The longest message that other ranks get. */
const MOST_LETTERS = 1000;

function messageOf(error: unknown): string {
  try {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return text.slice(0, MOST_LETTERS).toWellFormed();
  } catch {
    return "something that has no text"; // `Object.create(null)`, say
  }
}
